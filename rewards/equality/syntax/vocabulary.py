"""The words and commands of the notations we read: LaTeX, Unicode, and text printed by Python."""


def names(spelled: str) -> frozenset[str]:
    """A set of words, written as one string."""
    return frozenset(spelled.split())


FUNCTIONS: dict[str, str] = {
    **{
        name: name
        for name in names(
            "sin cos tan sec csc cot sinh cosh tanh sech csch coth ln log exp sqrt abs floor ceil "
            "gcd lcm max min arcsin arccos arctan arccot arcsec arccsc arcsinh arccosh arctanh "
            "cbrt factorial binomial lg mod sgn re im cis gamma_function"
        )
    },
    "asin": "arcsin",
    "acos": "arccos",
    "atan": "arctan",
    "acot": "arccot",
    "asec": "arcsec",
    "acsc": "arccsc",
    "asinh": "arcsinh",
    "acosh": "arccosh",
    "atanh": "arctanh",
    "arsinh": "arcsinh",
    "arcosh": "arccosh",
    "artanh": "arctanh",
    "tg": "tan",
    "ctg": "cot",
    "arctg": "arctan",
    "cosec": "csc",
    "Abs": "abs",
    "ceiling": "ceil",
    "Max": "max",
    "Min": "min",
    "Mod": "mod",
    "sign": "sgn",
    "ncr": "binomial",
    "log2": "log2",
    "log10": "lg",
    "gamma": "gamma_function",
    "pow": "pow",
    "Pow": "pow",
    "comb": "binomial",
    "nCr": "binomial",
    "perm": "arrangements",
    "nPr": "arrangements",
}
"""Every spelling of a function, with the name it has in a tree."""

GREEK = names(
    "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda "
    "mu nu xi rho varrho sigma tau upsilon phi varphi chi psi omega Gamma Delta Theta "
    "Lambda Xi Sigma Upsilon Phi Psi Omega ell hbar odot nabla partial mho aleph star "
    "dagger bullet const"
)

CONSTANTS = {"pi": "pi", "Pi": "pi", "infty": "oo", "infinity": "oo", "inf": "oo", "oo": "oo"}

OPERATORS: dict[str, str] = {
    "cdot": "*",
    "times": "*",
    "ast": "*",
    "div": "/",
    "pm": "±",
    "mp": "∓",
    "le": "<=",
    "leq": "<=",
    "leqslant": "<=",
    "leqq": "<=",
    "ge": ">=",
    "geq": ">=",
    "geqslant": ">=",
    "geqq": ">=",
    "lt": "<",
    "gt": ">",
    "ne": "!=",
    "neq": "!=",
    "approx": "≈",
    "simeq": "≈",
    "sim": "≈",
    "thickapprox": "≈",
    "equiv": "≡",
    "cup": "∪",
    "cupdot": "∪",
    "bigcup": "∪",
    "cap": "∩",
    "in": "∈",
    "setminus": "setminus",
    "backslash": "setminus",
    "lbrace": "\\{",
    "rbrace": "\\}",
    "mid": "|",
    "vert": "|",
    "lvert": "|",
    "rvert": "|",
    "colon": ":",
    "degree": "°",
    "circ": "°",
    "prime": "'",
    "lparen": "(",
    "rparen": ")",
    "lbrack": "[",
    "rbrack": "]",
    "bmod": "mod",
    "mod": "mod",
    "pmod": "pmod",
    "ni": "∋",
    "implies": "⇒",
    "Rightarrow": "⇒",
    "Longrightarrow": "⇒",
    "mapsto": "↦",
    "coloneqq": "=",
    "ldots": "…",
    "cdots": "…",
    "dots": "…",
    "dotsc": "…",
    "dotsb": "…",
    "vdots": "…",
    "land": "and",
    "wedge": "and",
    "lor": "or",
    "vee": "or",
    "colon=": "=",
}
"""LaTeX commands that are operators, with the one spelling used from here on."""

COMMANDS: dict[str, str] = {
    "imath": "i",
    "jmath": "j",
    "dfrac": "frac",
    "tfrac": "frac",
    "cfrac": "frac",
    "sfrac": "frac",
    "nicefrac": "frac",
    "flatfrac": "frac",
    "dbinom": "binom",
    "tbinom": "binom",
    "emptyset": "emptyset",
    "varnothing": "emptyset",
    "overrightarrow": "vec",
    "overset": "overset",
}
"""LaTeX commands with an argument that have a simpler twin."""

IGNORED = names(
    "left right bigl bigr Bigl Bigr biggl biggr Biggl Biggr big Big bigg Bigg middle boxed "
    "fbox displaystyle textstyle scriptstyle limits nolimits rm bf it sf tt mathop mathord "
    "strut operatorname nonumber quad qquad enspace thinspace angle "
    "measuredangle triangle space hfill newline large Large LARGE huge Huge small normalsize "
    "footnotesize scriptsize tiny underbrace overbrace therefore because checkmark square Box "
    "blacksquare qed qedsymbol mathstrut smash displaylimits notag mathbin mathrel mathopen "
    "mathclose mathpunct mathinner"
)
"""LaTeX commands that change how an answer looks and not what it says."""

TEXT_COMMANDS = names(
    "text mbox textrm textit textbf textsf texttt textnormal hbox mathrm mathbf mathit "
    "mathsf emph mathtt underline textsc operatorname boldsymbol bm"
)

LETTER_COMMANDS = frozenset(["mathbb", "mathcal", "mathfrak", "mathscr"])

PYTHON_RELATIONS = {
    "Eq": "=",
    "Ne": "!=",
    "Lt": "<",
    "Le": "<=",
    "Gt": ">",
    "Ge": ">=",
    "Equality": "=",
    "StrictLessThan": "<",
    "LessThan": "<=",
    "StrictGreaterThan": ">",
    "GreaterThan": ">=",
}
"""Names under which sympy prints relations."""

PYTHON_CALLS = names("int Or And Not Tuple Poly Piecewise mpf mpc set")
"""Names that Python prints before a bracket, too short for a word or followed by digits."""

SHORT_UNITS = names(
    "cm mm km dm nm kg mg ft mi yd yds hr hrs min sec mph kph deg lb lbs oz ml mL hl kmh mps gm "
    "kW MW kHz Hz MHz GHz kPa Pa MPa kJ MJ mV kV mA kN ms ns eV USD EUR GBP JPY CNY RMB INR AUD CAD"
)
"""Runs of at most three letters that are units where they stand behind a number."""

CURRENCY_CODES = names("USD EUR GBP JPY CNY RMB INR AUD CAD")

SHORT_WORDS = names("and or no yes odd any all the for are not one two six ten pct dne pts men")
"""Short runs of letters that are words and not products of symbols."""
SHORT_PROSE = names("is to in of if at by am pm it as on be do so we he an its has was out per")
"""The same, where a longer word stands beside them."""

UNIT_LETTERS = names("m s g h N J W V L l A K C F T")
"""Single letters that may be a unit behind a number and a space."""

_NUMERALS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen twenty"
)
NUMERALS = {word: value for value, word in enumerate(_NUMERALS.split())}

UNICODE: dict[str, str] = {
    "π": r"\pi ",
    "∞": r"\infty ",
    "×": r"\times ",
    "·": r"\cdot ",
    "⋅": r"\cdot ",
    "∙": r"\cdot ",
    "÷": "/",
    "−": "-",
    "–": "-",
    "—": "-",
    "‐": "-",
    "‑": "-",
    "∕": "/",
    "⁄": "/",
    "≤": r"\le ",
    "≥": r"\ge ",
    "⩽": r"\le ",
    "⩾": r"\ge ",
    "≠": r"\ne ",
    "∪": r"\cup ",
    "∩": r"\cap ",
    "∈": r"\in ",
    "°": r"\degree ",
    "º": r"\degree ",
    "√": r"\sqrt ",
    "∛": r"\cbrt ",
    "±": r"\pm ",
    "∓": r"\mp ",
    "≈": r"\approx ",
    "∅": r"\emptyset ",
    "∶": ":",
    "，": ",",
    "、": ",",
    "；": ";",
    "“": '"',
    "”": '"',
    "‘": "'",
    "’": "'",
    "′": "'",
    "″": "''",
    "→": r"\to ",
    "ℝ": r"\mathbb{R}",
    "ℤ": r"\mathbb{Z}",
    "ℕ": r"\mathbb{N}",
    "ℚ": r"\mathbb{Q}",
    "ℂ": r"\mathbb{C}",
    "…": r"\ldots ",
    "⋯": r"\cdots ",
    "∀": r"\forall ",
    "⌊": r"\lfloor ",
    "⌋": r"\rfloor ",
    "⌈": r"\lceil ",
    "⌉": r"\rceil ",
    "⟨": r"\langle ",
    "⟩": r"\rangle ",
    "✓": "",
    "✔": "",
    "∎": "",
    "⇒": r"\Rightarrow ",
    "∴": "",
    "↦": r"\mapsto ",
    "≡": r"\equiv ",
    "Ω": r"\Omega ",
    "µ": r"\mu ",
    "\u200b": "",
    "\u200c": "",
    "\u200d": "",
    "\u2060": "",
    "\ufeff": "",
}
"""What one Unicode character says in LaTeX, before compatibility folding; zero-width ones go."""

_GREEK_SPELLED = (
    "α alpha β beta γ gamma δ delta ε epsilon ζ zeta η eta θ theta ι iota κ kappa λ lambda μ mu "
    "ν nu ξ xi ρ rho σ sigma τ tau υ upsilon φ phi χ chi ψ psi ω omega Γ Gamma Δ Delta Θ Theta "
    "Λ Lambda Ξ Xi Σ Sigma Φ Phi Ψ Psi Ω Omega"
)
_PIECES = iter(_GREEK_SPELLED.split())
GREEK_LETTERS = dict(zip(_PIECES, _PIECES, strict=True))
"""Name of every Greek letter by its character."""
PYTHON_NUMBERS = names(
    "Rational Fraction Integer Float Decimal mpf int float int64 int32 float64 float32 Poly complex"
)
"""What Python calls a number: `Rational(1, 2)`, `np.float64(0.5)`."""


def function_and_letter(word: str) -> tuple[str, ...] | None:
    """`sinx` is sin x, `lnx` is ln x."""
    for cut in (-1, 1):
        head, tail = word[:cut], word[cut:]
        if head in FUNCTIONS and len(head) > 1:
            return head, tail
        if tail in FUNCTIONS and len(tail) > 1:
            return head, tail
    return None
