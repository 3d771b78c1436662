"""`python -m rewardkit`: the same as the console script."""

from rewardkit.cli import main

if __name__ == "__main__":
    main()
