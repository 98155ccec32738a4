"""A table of the report as LaTeX, for a paper: the printed cells in a tabular with booktabs' rules."""

from __future__ import annotations

import re

from vaetune.report.document import Table

_ESCAPES = {
    **{c: f"\\{c}" for c in "&%$#_{}"},
    "\\": "\\textbackslash{}",
    "~": "\\textasciitilde{}",
    "^": "\\textasciicircum{}",
    "−": "$-$",
    "±": "$\\pm$",
    "×": "$\\times$",
    "·": "$\\cdot$",
    "≤": "$\\le$",
    "≥": "$\\ge$",
    "½": "$\\frac12$",
    "<": "$<$",
    ">": "$>$",
    "|": "$|$",
    "‖": "$\\|$",
    "∞": "$\\infty$",
    "ℓ": "$\\ell$",
    "²": "$^2$",
    "³": "$^3$",
    "⁻": "$^-$",
    "→": "$\\to$",
    "–": "--",
    "\N{EM DASH}": "---",
    "“": "``",
    "”": "''",
    "’": "'",
    "…": "\\dots{}",
    "\u00a0": "~",
    **{
        letter: f"$\\{name}$"
        for letter, name in zip(
            "αβγδεζηθκλμνξπρστφχψω",
            (
                *(
                    "alpha",
                    "beta",
                    "gamma",
                    "delta",
                    "varepsilon",
                    "zeta",
                    "eta",
                    "theta",
                    "kappa",
                    "lambda",
                    "mu",
                    "nu",
                    "xi",
                ),
                *("pi", "rho", "sigma", "tau", "varphi", "chi", "psi", "omega"),
            ),
            strict=True,
        )
    },
}
_SPECIAL = re.compile("|".join(map(re.escape, _ESCAPES)))


def write(table: Table) -> str:
    r"""A `tabular`, to be put into a `table` with a caption; needs \usepackage{booktabs}."""
    columns = "".join("r" if numeric else "l" for numeric in table.numeric())
    return "\n".join(
        [
            f"% {_line(table.title)}",
            f"\\begin{{tabular}}{{@{{}}{columns}@{{}}}}",
            "\\toprule",
            _row(list(table.columns)),
            "\\midrule",
            *map(_row, table.cells()),
            "\\bottomrule",
            "\\end{tabular}",
            "",
        ]
    )


def escaped(text: str) -> str:
    """The text in which nothing is a command."""
    return _SPECIAL.sub(lambda match: _ESCAPES[match[0]], _line(text))


def _row(cells: list[str]) -> str:
    return " & ".join(map(escaped, cells)) + " \\\\"


def _line(text: str) -> str:
    return " ".join(text.split())
