"""Other files that hold tensors, and the ways there and back: npz, safetensors."""
