"""R_q and what `hybrid` does in it: elements, masks, Gaussians, and the code that multiplies quickly."""
