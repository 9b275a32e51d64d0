"""
The data sets: source, licence, and sha256 of every file.

IDX files have two sha256: of the decoded values, and of the published gzip file. USPS has only the first, because
copies of its text differ in white space and gzip headers; the decoded values are compared before a file gets its name.
"""

from portanet.datasets.digits import read_digits
from portanet.datasets.fetch import File, Source
from portanet.datasets.idx import read_idx
from portanet.datasets.usps import read_usps

DIGITS = tuple("0123456789")

FASHION_MNIST_LICENCE = """\
The MIT License (MIT) Copyright © 2017 Zalando SE, https://tech.zalando.com

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the “Software”), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED “AS IS”, WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""


def _idx_files(decoded: tuple[str, ...], published: tuple[str, ...]) -> tuple[File, ...]:
    names_and_shapes = (
        ("train-images-idx3-ubyte.gz", (60000, 28, 28)),
        ("train-labels-idx1-ubyte.gz", (60000,)),
        ("t10k-images-idx3-ubyte.gz", (10000, 28, 28)),
        ("t10k-labels-idx1-ubyte.gz", (10000,)),
    )
    columns = zip(names_and_shapes, decoded, published, strict=True)
    return tuple(File(name, shape, sha256, gz_sha256) for (name, shape), sha256, gz_sha256 in columns)


_SOURCES = (
    # E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998, CC BY
    # 4.0; scikit-learn carries its test part.
    Source("digits", read_digits, DIGITS),
    # Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document recognition", Proceedings
    # of the IEEE 86(11):2278-2324, 1998. No licence stated; Keras' documentation says CC BY-SA 3.0.
    Source(
        "mnist",
        read_idx,
        DIGITS,
        url="https://ossci-datasets.s3.amazonaws.com/mnist/",
        files=_idx_files(
            decoded=(
                "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757",
                "1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13",
                "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161",
                "ddeff807876a9661a1110d45c266c86239a3a1b7d37da0c3716a7a683c852ff5",
            ),
            published=(
                "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
                "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
                "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
                "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            ),
        ),
    ),
    # H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning
    # Algorithms", arXiv:1708.07747, 2017. MIT licence.
    Source(
        "fashion_mnist",
        read_idx,
        ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
        url="https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        files=_idx_files(
            decoded=(
                "2e487a6c89124f78f2d7521542223cafe96f7123c3ca13d447772ac6ecbb3012",
                "657fbd221bfc9f4198cc14b5619cc33ec57c58dd0e47af4d99d6650759e869a7",
                "c867c93ff95360594e8ec3287995350b824dd110b11595c0e13d5423f621867a",
                "3d0e6c6ea990b53b6f8f500a41cac93881d981b315f84578b7d915342ade01e9",
            ),
            published=(
                "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
                "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
                "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
                "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
            ),
        ),
        licence=FASHION_MNIST_LICENCE,
    ),
    # Y. LeCun et al., "Handwritten digit recognition with a back-propagation network", NIPS 2, 1990; J. J. Hull, "A
    # database for handwritten text recognition research", IEEE PAMI 16(5):550-554, 1994. No licence found; distributed
    # with T. Hastie, R. Tibshirani, J. Friedman, "The Elements of Statistical Learning", Springer.
    Source(
        "usps",
        read_usps,
        DIGITS,
        url="https://hastie.su.domains/ElemStatLearn/datasets/",
        files=(
            File("zip.train.gz", (7291, 257), "2cc216e7da7dd0cd381c17183347bb4a9f06630c9512abdc6401a855ae8d575a"),
            File("zip.test.gz", (2007, 257), "74bb82c5a296d6087871338c6bb8058fdb0af287a5b31a17f025c74abaea877f"),
        ),
    ),
)
SOURCES = {source.name: source for source in _SOURCES}
