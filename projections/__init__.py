"""Events -> Redis: the only writers of read models, and the way to read them."""
