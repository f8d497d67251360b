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
    "bai2019deep": (
        "@inproceedings{bai2019deep,\n  title = {Deep Equilibrium Models},\n"
        "  author = {Bai, Shaojie and Kolter, J. Zico and Koltun, Vladlen},\n"
        "  booktitle = {Advances in Neural Information Processing Systems},\n  year = {2019},\n"
        "  eprint = {1909.01377},\n  archiveprefix = {arXiv}\n}"
    ),
    "geng2021training": (
        "@inproceedings{geng2021training,\n  title = {On Training Implicit Models},\n"
        "  author = {Geng, Zhengyang and Zhang, Xin-Yu and Bai, Shaojie and Wang, Yisen and Lin, Zhouchen},\n"
        "  booktitle = {Advances in Neural Information Processing Systems},\n  year = {2021},\n"
        "  eprint = {2111.05177},\n  archiveprefix = {arXiv}\n}"
    ),
    "wufung2022jfb": (
        "@inproceedings{wufung2022jfb,\n  title = {{JFB}: {J}acobian-Free Backpropagation for Implicit Networks},\n"
        "  author = {Wu Fung, Samy and Heaton, Howard and Li, Qiuwei and McKenzie, Daniel and Osher, Stanley and Yin, Wotao},\n"
        "  booktitle = {Proceedings of the AAAI Conference on Artificial Intelligence},\n  year = {2022},\n"
        "  eprint = {2103.12803},\n  archiveprefix = {arXiv}\n}"
    ),
    "kantorovich1948": (
        "@article{kantorovich1948,\n  title = {Functional analysis and applied mathematics},\n"
        "  author = {Kantorovich, Leonid V.},\n  journal = {Uspekhi Matematicheskikh Nauk},\n"
        "  volume = {3},\n  number = {6},\n  pages = {89--185},\n  year = {1948},\n  note = {In Russian}\n}"
    ),
    "bauer1960": (
        "@article{bauer1960,\n  title = {Some inequalities involving the {E}uclidean condition of a matrix},\n"
        "  author = {Bauer, Friedrich L. and Householder, Alston S.},\n  journal = {Numerische Mathematik},\n"
        "  volume = {2},\n  pages = {308--311},\n  year = {1960}\n}"
    ),
    "markov1889": (
        "@article{markov1889,\n  title = {On a question by D. I. Mendeleev},\n  author = {Markov, Andrei A.},\n"
        "  journal = {Zapiski Imperatorskoi Akademii Nauk},\n  volume = {62},\n  pages = {1--24},\n  year = {1889}\n}"
    ),
    "combettes2005": (
        "@article{combettes2005,\n  title = {Signal recovery by proximal forward-backward splitting},\n"
        "  author = {Combettes, Patrick L. and Wajs, Val{\\'e}rie R.},\n  journal = {Multiscale Modeling and Simulation},\n"
        "  volume = {4},\n  number = {4},\n  pages = {1168--1200},\n  year = {2005}\n}"
    ),
    "geman1995": (
        "@article{geman1995,\n  title = {Nonlinear image recovery with half-quadratic regularization},\n"
        "  author = {Geman, Donald and Yang, Chengda},\n  journal = {IEEE Transactions on Image Processing},\n"
        "  volume = {4},\n  number = {7},\n  pages = {932--946},\n  year = {1995}\n}"
    ),
    "temam1977": (
        "@book{temam1977,\n  title = {{N}avier-{S}tokes Equations: Theory and Numerical Analysis},\n  author = {Temam, Roger},\n"
        "  publisher = {North-Holland},\n  year = {1977}\n}"
    ),
    "orszag1971": (
        "@article{orszag1971,\n  title = {On the elimination of aliasing in finite-difference schemes by filtering "
        "high-wavenumber components},\n  author = {Orszag, Steven A.},\n"
        "  journal = {Journal of the Atmospheric Sciences},\n  volume = {28},\n  pages = {1074},\n  year = {1971}\n}"
    ),
    "mangasarian1979": (
        "@article{mangasarian1979,\n  title = {Nonlinear perturbation of linear programs},\n"
        "  author = {Mangasarian, Olvi L. and Meyer, R. R.},\n  journal = {SIAM Journal on Control and Optimization},\n"
        "  volume = {17},\n  number = {6},\n  pages = {745--752},\n  year = {1979}\n}"
    ),
    "friedlander2007": (
        "@article{friedlander2007,\n  title = {Exact regularization of convex programs},\n"
        "  author = {Friedlander, Michael P. and Tseng, Paul},\n  journal = {SIAM Journal on Optimization},\n"
        "  volume = {18},\n  number = {4},\n  pages = {1326--1350},\n  year = {2007}\n}"
    ),
    "chambolle2011": (
        "@article{chambolle2011,\n  title = {A first-order primal-dual algorithm for convex problems with applications to imaging},\n"
        "  author = {Chambolle, Antonin and Pock, Thomas},\n  journal = {Journal of Mathematical Imaging and Vision},\n"
        "  volume = {40},\n  number = {1},\n  pages = {120--145},\n  year = {2011}\n}"
    ),
}
