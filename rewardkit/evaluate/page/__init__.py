"""One self-contained HTML page: the labelled traces of a dataset and the figures and plots of an evaluation."""

from rewardkit.evaluate.page.build import Page, build_page, write_page

__all__ = ["Page", "build_page", "write_page"]
