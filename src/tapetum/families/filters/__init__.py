"""What filters look for: the weights of a network, what they answer, and the same network before it learned."""
