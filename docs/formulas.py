"""Formulas of docstrings as TeX: ``dx = dy Wᵀ`` in ``help()`` is a typeset formula in the site."""

import re

LITERAL = re.compile(r"``([^`]+)``")
IS_FORMULA = re.compile(" (?:[-+/]|[+]?=|←) |[√Σ∂²³ᵀᵗ\u0302]|[α-ωΦ](?:[ (]|$)")
IS_CODE = re.compile(r"[\"'*<>{}]|\w=|\w\.[a-z]|\b[A-Z][a-z]\w|\d_|-\d+\]|,\)")
TOKEN = re.compile(
    r"(?P<number>\d+(?:\.\d+)?)|(?P<name>[A-Za-zα-ωΦ][A-Za-z0-9]*\u0302?[₀-₉ₙ]?(?:_\w*)?)"
    r"|(?P<symbol>\.\.\.|\+=|Σ(?:_[a-z])?|[^\s])",
    re.ASCII,
)
GREEK = {
    **{"α": r"\alpha ", "β": r"\beta ", "γ": r"\gamma ", "δ": r"\delta ", "ε": r"\varepsilon ", "λ": r"\lambda "},
    **{"μ": r"\mu ", "π": r"\pi ", "ρ": r"\rho ", "σ": r"\sigma ", "φ": r"\varphi ", "Φ": r"\Phi "},
}
RELATIONS = {"=": "=", "+=": r"\mathrel{+}=", "←": r"\leftarrow"}
POWERS = {"²": "2", "³": "3", "ᵀ": r"\mathsf{T}", "ᵗ": "t"}
INDICES = {"ₙ": "n", **{chr(0x2080 + digit): str(digit) for digit in range(10)}}


def typeset(text: str) -> str:
    r"""
    Return a text in which each literal that is a formula has the role ``math``.

    Examples
    --------
    >>> print(typeset("``dx = dy Wᵀ`` for ``Linear(3, 2)``"))
    :math:`dx = dy\, W^{\mathsf{T}}` for ``Linear(3, 2)``
    """

    def replace(match: re.Match[str]) -> str:
        formula = tex(match[1])
        return match[0] if formula is None else f":math:`{formula}`"

    return LITERAL.sub(replace, text)


def tex(text: str) -> str | None:
    r"""
    Return the TeX of a formula, or None if the text is something else.

    Examples
    --------
    >>> print(tex("h_t = tanh(x / √(v + eps))"))
    h_{t} = \operatorname{tanh}\left(\frac{x}{\sqrt{v + \mathrm{eps}}}\right)
    >>> tex("net[-1] = Linear(10)")
    """
    if not IS_FORMULA.search(text) or IS_CODE.search(text):
        return None
    try:
        return _Parser(text).whole().strip()  # a role may not end with a space
    except ValueError:
        return None


class _Parser:
    """Read a formula from left to right; each method reads what its name says, and returns its TeX."""

    def __init__(self, text: str) -> None:
        """Split the text into tokens: kind, text, and whether a space stands before it."""
        matches = TOKEN.finditer(text)
        self.tokens = [(m.lastgroup, m[0], text[: m.start()][-1:].isspace()) for m in matches] + [("end", "", True)]
        self.inside_bars = False

    def next(self) -> str:
        return self.tokens[0][1]

    def follows(self, *symbols: str) -> bool:
        """Whether one of the symbols is next, without a space before it."""
        return self.next() in symbols and not self.tokens[0][2]

    def take(self, expected: str | None = None) -> str:
        _, token, _ = self.tokens.pop(0)
        if not token or expected not in (None, token):
            raise ValueError(token)
        return token

    def whole(self) -> str:
        result = self.relation()
        if self.next():
            raise ValueError(self.next())
        return result

    def relation(self) -> str:
        result = self.sum()
        while self.next() in RELATIONS:
            result += f" {RELATIONS[self.take()]} {self.sum()}"
        return result

    def sum(self) -> str:
        result = self.take() if self.next() == "-" else ""
        result += self.product()
        while self.next() in ("+", "-"):
            result += f" {self.take()} {self.product()}"
        return result

    def product(self) -> str:
        factors = [self.factor()]
        while True:
            kind, token, _ = self.tokens[0]
            if token == "/":
                self.take()
                factors = [rf"\frac{{{without_fence(self.joined(factors))}}}{{{without_fence(self.factor())}}}"]
            elif kind in ("name", "number") or token[:1] in self.openings():
                factors.append(self.factor())
            else:
                return self.joined(factors)

    def openings(self) -> tuple[str, ...]:
        """Return the symbols with which a factor may begin; a bar inside of bars ends them."""
        return ("(", "[", "√", "Σ", "∂") if self.inside_bars else ("(", "[", "√", "Σ", "∂", "|")

    @staticmethod
    def joined(factors: list[str]) -> str:
        return r"\, ".join(factors)

    def factor(self) -> str:
        """Read a factor, together with a sign such as Σ or log before it."""
        token = self.next()
        if token[:1] == "Σ":
            index = self.take()[2:]
            return rf"\sum_{{{index}}} {self.factor()}" if index else rf"\sum {self.factor()}"
        if token == "∂":
            self.take()
            return rf"\partial {self.factor()}"
        if token == "√":
            self.take()
            return rf"\sqrt{{{self.group() if self.next() == '(' else self.atom()}}}"
        if token == "log" and not (self.tokens[1][1] == "(" and not self.tokens[1][2]):
            self.take()
            return rf"\log {self.factor()}"
        result = self.atom()
        while True:
            if self.next() in POWERS:
                result += f"^{{{POWERS[self.take()]}}}"
            elif self.next() == "^":
                self.take()
                result += f"^{{{self.group() if self.next() == '(' else self.atom()}}}"
            elif self.follows("(", "["):
                result += self.fenced()
            else:
                return result

    def atom(self) -> str:
        kind, token, _ = self.tokens[0]
        if token in ("(", "["):
            return self.fenced()
        if token == "|":
            self.take()
            self.inside_bars = True
            result = rf"\left|{self.relation()}\right|"
            self.inside_bars = False
            self.take("|")
            return result
        if token == "...":
            self.take()
            return r"\ldots"
        if kind == "number":
            self.take()
            return token + (self.name() if self.tokens[0][0] == "name" and not self.tokens[0][2] else "")
        return self.name()

    def name(self) -> str:
        if self.tokens[0][0] != "name":
            raise ValueError(self.next())
        token = self.take()
        base, underscore, index = token.partition("_")
        short = re.fullmatch("d?[A-Za-zα-ωΦ]\u0302?[₀-₉ₙ]?", base)
        if not short:
            return rf"\{'operatorname' if self.follows('(') else 'mathrm'}{{{token}}}".replace("_", r"\_")
        letters = "".join(GREEK.get(letter, letter) for letter in base if letter not in INDICES and letter != "\u0302")
        result = rf"\hat{{{letters}}}" if "\u0302" in base else letters
        if base[-1] in INDICES:
            index = INDICES[base[-1]]
        elif underscore and not index:
            index = self.group()
        return f"{result}_{{{index}}}" if index else result

    def fenced(self) -> str:
        opening = self.next()
        closing = {"(": ")", "[": "]"}[opening]
        return rf"\left{opening}{self.group(opening, closing)}\right{closing}"

    def group(self, opening: str = "(", closing: str = ")") -> str:
        """Read what stands between parentheses."""
        self.take(opening)
        bars, self.inside_bars = self.inside_bars, False
        result = ""
        while self.next() != closing:
            result += rf"{self.take()} " if self.next() in (",", ":") else self.relation()
        self.inside_bars = bars
        self.take(closing)
        return result


def without_fence(formula: str) -> str:
    """Leave out the parentheses around a numerator or a denominator."""
    opening, closing = r"\left(", r"\right)"
    inner = formula.removeprefix(opening).removesuffix(closing)
    depth, is_one_group = 0, len(inner) == len(formula) - len(opening) - len(closing)
    for match in re.finditer(r"\\(left|right)\b", inner):
        depth += 1 if match[1] == "left" else -1
        is_one_group &= depth >= 0
    return inner if is_one_group else formula
