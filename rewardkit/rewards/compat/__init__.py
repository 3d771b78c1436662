"""How the authors of the label-free rewards read and compare answers, odd cases included; only ``compat=`` uses it.

    boxes        the last box, as Co-Reward (verl's MATH score) and MM-UPT (mathruler) find it
    qwen         TTRL's and EVOL-RL's answer: Qwen2.5-Math's parser and its normalisation
    prm800k      PRM800K's grader (Lightman et al. 2023), which TTRL and mathruler share
    latex_text   the part of pylatexenc that the grader needs
    difference   the child process in which two formulas are subtracted; nothing is ever evaluated as code

The rules were written anew from the authors' behaviour; where they evaluate text with sympy, a closed grammar reads it.
"""
