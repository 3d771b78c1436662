"""RewardKit: label reasoning steps, train reward models on them, serve and use them."""

__version__ = "0.1.0"
