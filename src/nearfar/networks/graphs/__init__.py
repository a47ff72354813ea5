"""Networks over graphs: convolutions, proposals and read-outs, all by plain sums over edges."""
