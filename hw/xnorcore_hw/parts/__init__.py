"""Small pieces that several rooms use."""
