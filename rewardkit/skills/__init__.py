"""STAT (arXiv 2510.10023): a teacher finds the skills that a model lacks, and problems are chosen by them."""
