"""Networks from images to maps: pyramids of features and the decoders on top of them."""
