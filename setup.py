"""Installs estimator_ckpt; `pip install -e ".[test]"` installs what its tests need, too."""

import pathlib
import re

import setuptools
from setuptools.command.build_py import build_py

HERE = pathlib.Path(__file__).resolve().parent


def read_version() -> str:
    """Returns `__version__` as text of its module: the package itself is not imported."""
    text = (HERE / "estimator_ckpt" / "_version.py").read_text(encoding="utf-8")
    match = re.search(r'^__version__ = "([^"]+)"$', text, re.MULTILINE)
    if match is None:
        raise RuntimeError('estimator_ckpt/_version.py has no line `__version__ = "..."`')
    return match.group(1)


def read_readme() -> str:
    """Returns the long description; a source archive without a README still installs."""
    readme = HERE / "README.md"
    return readme.read_text(encoding="utf-8") if readme.exists() else ""


class BuildWithFlagfiles(build_py):
    """Puts the flagfiles into the package, where a wheel has no `configs` beside it."""

    def run(self) -> None:
        """Builds as ever, then copies them; an editable installation has those of the checkout."""
        super().run()
        if getattr(self, "editable_mode", False):
            return
        target = pathlib.Path(self.build_lib, "estimator_ckpt", "configs")
        target.mkdir(parents=True, exist_ok=True)
        for source in sorted((HERE / "configs").glob("*.flags")):
            self.copy_file(str(source), str(target / source.name))


# What jobs need. The rest reads, converts, checks and edits checkpoints: it brings no TensorFlow,
# and so replaces none.
ESTIMATOR = [
    "tensorflow>=2.12,<2.22",
    # TensorFlow up to 2.15 wants its own one; later ones want none, and run with the last one.
    "tensorflow-estimator>=2.12,<2.16",
    # Keras 2 for TensorFlow 2.16 and later: 2.N.x wants TensorFlow 2.N. 2.15.0 wants none, and is
    # what fits beside an older TensorFlow, which has a Keras 2 and loads its own.
    "tf-keras>=2.15",
    "xxhash>=3.0",  # hashes of variables, for unchanged="link"
]
EXAMPLES = [*ESTIMATOR, "scikit-learn>=1.0"]
# For those who read or write such files themselves; this package needs no more than their format.
SAFETENSORS = ["safetensors>=0.4"]
# The files of Keras (.weights.h5, .keras) are HDF5; Keras depends on it, too.
KERAS = ["h5py>=3.8"]
# s3://, gs:// and az:// without TensorFlow.
STORES = ["obstore>=0.6"]
# Many model_dirs on a cluster. It wants another protobuf than TensorFlow 2.15, so no other extra
# includes it.
BEAM = ["apache-beam>=2.50"]
# The tab of TensorBoard, which goes with any version of it that goes with TensorFlow 2.12 or later.
TENSORBOARD = ["tensorboard>=2.12"]
# Fuzzing guided by coverage, only in tests; where there is no wheel, they are skipped.
FUZZ = [
    "atheris>=2.3; sys_platform == 'linux' and platform_machine == 'x86_64' "
    "and python_version >= '3.11'"
]
# The site of the docs.
DOCS = ["mkdocs-material>=9.5"]
# mypy 2 no longer checks code for Python 3.9, the oldest Python that this package serves.
TEST = [
    *EXAMPLES,
    *KERAS,
    *SAFETENSORS,
    *STORES,
    *TENSORBOARD,
    *FUZZ,
    "allpairspy>=2.5",  # pairs of options, for combinations of them; pure Python
    "cryptography>=41",  # the certificate of a local server of Google's store; moto has it, too
    "google-crc32c>=1.5",  # what sums up where crc32c is not installed
    "hypothesis>=6.80",
    "import-linter>=2.0",
    "moto[server]>=5.0",  # a local server of S3
    "mypy>=1.11,<2",
    "playwright>=1.40",  # drives the Chromium that is installed, and brings none
    "pytest>=7.4",
    "pytest-xdist>=3.5",  # test files side by side, on each core
    "ruff>=0.15",
]

setuptools.setup(
    name="estimator-ckpt",
    version=read_version(),
    description="TF1 and TF2 checkpoints of tf.estimator jobs: written together, read by both, "
    "converted without copying a tensor.",
    long_description=read_readme(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=setuptools.find_packages(include=["estimator_ckpt*"]),
    package_data={
        "estimator_ckpt": ["py.typed", "*.pyi"],
        "estimator_ckpt.reporting": ["front/*.js", "front/*.css"],
    },
    python_requires=">=3.9",
    install_requires=[
        "absl-py>=1.0",
        "cramjam>=2.7",  # snappy blocks
        "crc32c>=2.7",  # checksums, without Python's lock; or google-crc32c
        "ml-dtypes>=0.2",  # bfloat16; TensorFlow depends on it, too
        "numpy>=1.23",
        "protobuf>=3.20,<7",  # 7 lacks an argument that TensorFlow 2.20 gives, and does not forbid
        "rich>=12.0",  # tables and progress on a terminal
    ],
    extras_require={
        "docs": DOCS,
        "beam": BEAM,
        "estimator": ESTIMATOR,
        "examples": EXAMPLES,
        "fuzz": FUZZ,
        "keras": KERAS,
        "safetensors": SAFETENSORS,
        "stores": STORES,
        "tensorboard": TENSORBOARD,
        "test": TEST,
    },
    entry_points={
        "console_scripts": ["estimator-ckpt = estimator_ckpt.cli.main:run"],
        "tensorboard_plugins": [
            "checkpoints = estimator_ckpt.reporting.tensorboard:CheckpointsPlugin"
        ],
    },
    cmdclass={"build_py": BuildWithFlagfiles},
    zip_safe=False,
    keywords="tensorflow estimator checkpoint migration tf1 tf2",
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Environment :: Console",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "License :: OSI Approved :: Apache Software License",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.9",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
)
