"""What is estimated of labels: class sizes, noise, Gaussians of classes."""
