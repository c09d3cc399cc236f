"""Models and data with known answers, for the tests of latent indicators."""

import numpy as np

# Covariances (divisor n) of nine tests of 301 pupils, Holzinger and Swineford (1939), as R's lavaan ships them.
PUPILS = """1.35837
0.407371 1.381784
0.579899 0.451064 1.274865
0.504835 0.208923 0.20817 1.350665
0.440616 0.211091 0.112296 1.097753 1.659786
0.454808 0.247545 0.244109 0.895516 1.014524 1.196358
0.084765 -0.096751 0.088342 0.219743 0.143 0.144078 1.183139
0.263838 0.109659 0.212323 0.125593 0.180605 0.165431 0.535245 1.021983
0.458339 0.244009 0.373853 0.243363 0.295241 0.235997 0.373297 0.457317 1.015004"""
PUPILS_MODEL = """visual =~ x1 + x2 + x3
textual =~ x4 + x5 + x6
speed =~ x7 + x8 + x9"""

# Eight indices of democracy and three of industry in 75 countries, Bollen (1989), as R's lavaan ships them: y1 to y8,
# x1 to x3.
COUNTRIES = """6.786852
6.168014 15.372085
5.760984 5.760777 10.620724
6.007461 9.381773 6.598764 11.069346
4.996293 5.528365 4.873173 5.626031 6.734681
5.669215 9.261139 4.664364 7.342953 4.910447 11.223654
5.734451 7.434989 6.913016 7.388159 5.743748 6.658144 10.65538
5.595444 7.65477 5.563951 7.905811 5.268194 8.136872 7.491201 10.39342
0.724601 0.611236 0.776387 1.135122 1.067204 0.841418 0.924346 1.088176 0.529987
1.256415 1.471389 1.531243 2.211078 2.036216 1.781413 1.968987 2.204447 0.977156 2.251679
0.899302 1.154216 1.025225 1.813516 1.562352 1.551105 1.604274 1.669595 0.812445 1.782009 1.949677"""
COUNTRIES_NAMES = ("y1", "y2", "y3", "y4", "y5", "y6", "y7", "y8", "x1", "x2", "x3")
COUNTRIES_MODEL = """ind60 =~ x1 + x2 + x3
dem60 =~ y1 + y2 + y3 + y4
dem65 =~ y5 + y6 + y7 + y8
dem60 ~ a*ind60       # industry comes before democracy
dem65 ~ ind60 + b*dem60
y1 ~~ y5
y2 ~~ y4 + y6
y3 ~~ y7; y4 ~~ y8
y6 ~~ y8
through := a*b"""

# The twelve variables of a study of job satisfaction: correlations and standard deviations.
JOBS_NAMES = ("JW1", "JW2", "JW3", "UF1", "UF2", "FOR", "DA1", "DA2", "DA3", "EBA", "ST", "MI")
JOBS = """1
.668 1
.635 .599 1
.263 .261 .164 1
.290 .315 .247 .486 1
.207 .245 .231 .251 .449 1
-.206 -.182 -.195 -.309 -.266 -.142 1
-.280 -.241 -.238 -.344 -.305 -.230 .753 1
-.258 -.244 -.185 -.255 -.255 -.215 .554 .587 1
.080 .096 .094 -.017 .151 .141 -.074 -.111 .016 1
.061 .028 -.035 -.058 -.051 -.003 -.040 -.040 -.018 .284 1
.113 .174 .059 .063 .138 .044 -.119 -.073 -.084 .563 .379 1"""
JOBS_SD = (0.939, 1.017, 0.937, 0.562, 0.760, 0.524, 0.585, 0.609, 0.731, 0.711, 1.124, 1.001)
JOBS_MODEL = """JS =~ JW1 + JW2 + JW3
SWB =~ UF1 + UF2 + FOR
DTP =~ DA1 + DA2 + DA3
CTS =~ EBA + ST + MI
UF1 ~~ FOR
DTP ~ CTS
SWB ~ DTP + CTS
JS ~ DTP + SWB + CTS"""


def symmetric(text):
    """Read a lower triangle."""
    rows = [[float(value) for value in line.split()] for line in text.splitlines()]
    found = np.zeros((len(rows), len(rows)))
    for i, row in enumerate(rows):
        found[i, : i + 1] = found[: i + 1, i] = row
    return found


def jobs_covariance():
    """Covariance of the twelve variables."""
    return symmetric(JOBS) * np.outer(JOBS_SD, JOBS_SD)


def with_moments(covariance, n, seed=1):
    """Rows with exactly this covariance (divisor n) and means of zero."""
    z = np.random.default_rng(seed).standard_normal((n, len(covariance)))
    z -= z.mean(axis=0)
    root = np.linalg.cholesky(z.T @ z / n)
    return np.linalg.solve(root, z.T).T @ np.linalg.cholesky(covariance).T
