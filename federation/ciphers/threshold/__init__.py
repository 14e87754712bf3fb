"""Threshold Paillier, from a key and its proof to an opening that anyone checks."""
