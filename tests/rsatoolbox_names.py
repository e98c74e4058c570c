"""The methods of RSA, and what rsatoolbox calls them."""

METHODS = {
    "pearson": "corr",
    "spearman": "spearman",
    "kendall_tau_a": "tau-a",
    "kendall_tau_b": "kendall",
    "cosine": "cosine",
    "whitened_cosine": "cosine_cov",
    "whitened_pearson": "corr_cov",
}
