"""What is wrong with a set of labelled images, before anything is trained on it."""
