"""Texts that would break what they stand in."""

TEXTS = (
    "a_b % c & d \\ # $ { } ~ ^ | < > ` \" '",
    "[0pt] starts a row",
    "* starts a row",
    "line\nbreak\r\nand\ttab",
    "\\end{tabular} \\input{/etc/passwd} $x^2$ %",
    "}}}{{{",
    "--flag --- -1.5 1e-5",
    "é Ł ✓ ° 日本 † ‡ § ¶ ‖ µ \N{MULTIPLICATION SIGN} ± ² ≤ ≥ → —",
    "\x07 bell \x00 nul",
    "<script>alert(1)</script> | x `z` [a](b) *c* _d_",
    '=cmd|"/c calc"!A1, "quoted"',
    "",
)
