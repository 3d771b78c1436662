"""What is done with labels once they are there."""
