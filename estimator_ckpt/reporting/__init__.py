"""Checkpoints as pictures: a page of one file, and a tab of TensorBoard, on the same front end."""
