"""What the engine costs and what it keeps: overhead, scaling, memory.

    python -m experiments.engine                  # some minutes, 2 quiet cores
    python -m experiments.engine --scale smoke    # everything tiny

It needs the extra cluster, and writes engine.json to results/engine. Whatever is
compared takes turns within one run. Each figure is printed with its goal:

    overhead     a run, features on disk and statistics in a store, takes at most 1.10
                 times the affinity products and solver calls alone at S=256, 1.05 at
                 S=1024
    cluster      two local Dask workers of one thread give at least 1.6 times the pairs
                 a second of one, at S=1024
    memory       at N=400 the peak is at most 1.2 times that at N=100 (S=256, C=64,
                 features on disk, each in a new process), and the cost of a pair within
                 10 %
"""

# Each part runs in a process of its own, which imports this module before it can set
# its thread counts: nothing that reads them, NumPy or JAX, may be imported up here.


def main() -> None:
    """Runs the command line."""
    from experiments._engine.cli import app

    app()


if __name__ == "__main__":
    main()
