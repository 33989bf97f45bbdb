"""`python -m estimator_ckpt` is the command line, as `estimator-ckpt` is."""

from estimator_ckpt.cli.main import run

if __name__ == "__main__":
    run()
