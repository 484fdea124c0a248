"""Kernel regression: what places that are much alike have in common, without a direction that holds everywhere.

A linear head asks one question of all places, trees one column at a time. This one compares whole vectors, and has
one number to choose, for which a few hundred labels suffice. Its optimum is exact: nothing stops early. A part of
the kernel is linear, so that what does hold everywhere is found as well, and goes on beyond the places that are known.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import Ridge

from mmgr.evaluate.linear import SoftmaxRegression, ridge_path
from mmgr.evaluate.side_by_side import one_thread
from mmgr.evaluate.tuning import Inner, inner_folds

Matrix = NDArray[np.float64]

LANDMARKS = 1000
"""Training units up to this number are compared with each other; of more, so many stand for all."""
WIDTH = 2.0
"""Exponent of the kernel at the mean squared distance between units; more is a narrower kernel."""
LINEAR = 0.25
"""Part of the kernel that is linear."""
PENALTIES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
"""What is chosen from, on kernels that are about 1 of a unit with itself."""
SHARE_PENALTIES = (30.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01)
"""The same, of shares and classes."""


class KernelHead(BaseEstimator):  # type: ignore[misc] # scikit-learn has no types
    """Ridge or softmax regression with a kernel that is in part Gaussian and in part linear, and a free intercept.

    ``k(x, x') = (1 - linear) exp(-width |x - x'|^2 / m) + linear (x - c)'(x' - c) / (m / 2)``, where ``c`` is the mean
    of the training units and ``m`` the mean squared distance between them: of a unit with itself both parts are 1 in
    the mean, the Gaussian one of each. Numbers are fitted by squared error, shares and classes by the divergence
    through a softmax (:class:`~mmgr.evaluate.linear.SoftmaxRegression` in the kernel's space); the penalty has the
    least of it on inner folds. More than :data:`LANDMARKS` units are compared with so many of them alone, which are
    drawn at random (the method of Nyström: Williams and Seeger 2001, NeurIPS 13).

    Parameters
    ----------
    width
        As above. It is not chosen: with a few hundred units, choosing it as well did worse.
    linear
        As above, from 0 to 1. It is not chosen either.
    penalties, share_penalties
        To choose from, for numbers and for shares of classes.
    landmarks
        As above.
    random_state
        Of the draw of landmarks.

    Attributes
    ----------
    penalty_ : float
        What was chosen.
    """

    def __init__(
        self,
        *,
        width: float = WIDTH,
        linear: float = LINEAR,
        penalties: tuple[float, ...] = PENALTIES,
        share_penalties: tuple[float, ...] = SHARE_PENALTIES,
        landmarks: int = LANDMARKS,
        random_state: int = 0,
    ) -> None:
        self.width = width
        self.linear = linear
        self.penalties = penalties
        self.share_penalties = share_penalties
        self.landmarks = landmarks
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike, *, inner: Inner | None = None) -> KernelHead:
        """Fit ``y``, shape ``(n,)`` or ``(n, k)`` for shares, on ``X``, shape ``(n, d)``."""
        features, target = np.asarray(X, np.float64), np.asarray(y, np.float64)
        parts = inner_folds(None, units=len(features), seed=0) if inner is None else inner
        # the mean over all pairs is twice the variance; units that are all alike have a kernel of 1 whatever it is
        apart = 2 * float(features.var(axis=0).sum()) or 1.0
        with one_thread():
            self._kernel = Nystroem(
                gamma=self.width / apart,
                n_components=min(self.landmarks, len(features)),
                random_state=self.random_state,
            )
            self._centre, self._scale = features.mean(axis=0), np.sqrt(apart / 2)
            self._kernel.fit(features)
            seen = self._seen(features)
            if target.ndim == 1:
                self.penalty_ = self._choose(seen, target, parts)
                self._model = Ridge(self.penalty_).fit(seen, target)
            else:
                self._model = SoftmaxRegression(self.share_penalties).fit(seen, target, inner=parts)
                self.penalty_ = self._model.alpha_
        return self

    def predict(self, X: ArrayLike) -> Matrix:
        """Predict the shape of the labels."""
        with one_thread():
            return np.asarray(self._model.predict(self._seen(np.asarray(X, np.float64))), np.float64)

    def _seen(self, features: Matrix) -> Matrix:
        """Return columns whose inner products are the kernel, shape ``(n, landmarks + d)``."""
        gaussian = np.sqrt(1 - self.linear) * self._kernel.transform(features)
        if not self.linear:
            return np.asarray(gaussian)
        return np.hstack([gaussian, np.sqrt(self.linear) / self._scale * (features - self._centre)])

    def _choose(self, seen: Matrix, target: Matrix, parts: Inner) -> float:
        """Return the penalty with the least squared error on inner folds; without folds the one nearest to 1."""
        if not len(parts) or len(self.penalties) == 1:
            return float(min(self.penalties, key=lambda penalty: abs(np.log(penalty))))
        errors = np.zeros(len(self.penalties))
        for fit, held in parts:
            path = ridge_path(seen[fit], target[fit, None], seen[held], self.penalties)[:, 0]
            errors += ((path - target[held, None]) ** 2).sum(axis=0)
        return float(self.penalties[int(errors.argmin())])
