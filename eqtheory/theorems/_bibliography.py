"""The works the registry cites, as BibTeX."""

from __future__ import annotations

__all__ = ["BIBLIOGRAPHY"]

BIBLIOGRAPHY = {
    "eqtheory": (
        "@software{eqtheory,\n  title = {eqtheory: implicit models as executable theory},\n"
        "  author = {{The eqtheory authors}},\n  year = {2026},\n  version = {0.1.0},\n  note = {%s}\n}"
    ),
    "liu2026implicit": (
        "@inproceedings{liu2026implicit,\n  title = {Implicit Models: Expressive Power Scales with Test-Time Compute},\n"
        "  author = {Liu, Jialin and Ding, Lisang and Osher, Stanley and Yin, Wotao},\n"
        "  booktitle = {International Conference on Learning Representations},\n  year = {2026},\n"
        "  eprint = {2510.03638},\n  archiveprefix = {arXiv}\n}"
    ),
    "banach1922": (
        "@article{banach1922,\n  title = {Sur les op{\\'e}rations dans les ensembles abstraits et leur application aux "
        "{\\'e}quations int{\\'e}grales},\n  author = {Banach, Stefan},\n  journal = {Fundamenta Mathematicae},\n"
        "  volume = {3},\n  pages = {133--181},\n  year = {1922}\n}"
    ),
    "higham2002": (
        "@book{higham2002,\n  title = {Accuracy and Stability of Numerical Algorithms},\n  author = {Higham, Nicholas J.},\n"
        "  publisher = {SIAM},\n  edition = {2nd},\n  year = {2002}\n}"
    ),
    "markov1889": (
        "@article{markov1889,\n  title = {On a question by D. I. Mendeleev},\n  author = {Markov, Andrei A.},\n"
        "  journal = {Zapiski Imperatorskoi Akademii Nauk},\n  volume = {62},\n  pages = {1--24},\n  year = {1889}\n}"
    ),
}
