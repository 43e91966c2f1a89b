"""Five questions that courses ask about convolutional networks, answered by measuring any network on one's own pictures."""
