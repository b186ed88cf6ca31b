"""A flat metric plane that touches the WGS84 ellipsoid, by pyproj's projection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LocalPlane:
    """Metres east and north of an origin, by the azimuthal equidistant projection.

    It is exact to a millimetre within some kilometres.

    Attributes:
        longitude: Longitude of the plane's origin, degrees.
        latitude: Latitude of the plane's origin, degrees.
    """

    longitude: float
    latitude: float

    @classmethod
    def around(cls, degrees: Array) -> LocalPlane:
        """Return the plane in the middle of points (n, 2), longitude and latitude.

        NaN is left out. The points may be on both sides of the 180th meridian.
        """
        known = np.asarray(degrees, np.float64)
        known = known[np.isfinite(known).all(axis=1)]
        longitude = known[0, 0] + _wrapped(known[:, 0] - known[0, 0]).mean()
        return cls(float(_wrapped(longitude)), float(known[:, 1].mean()))

    def to_metres(self, degrees: Array) -> Array:
        """Return metres (n, 2) east and north of points (n, 2), longitude and latitude in degrees.

        NaN stays NaN.
        """
        return self._through(degrees, inverse=False)

    def to_degrees(self, metres: Array) -> Array:
        """Return longitude and latitude (n, 2), degrees, of points (n, 2) in metres, with NaN."""
        return self._through(metres, inverse=True)

    def _through(self, points: Array, *, inverse: bool) -> Array:
        result = np.full(np.shape(points), np.nan)
        known = np.isfinite(points).all(axis=1)
        if known.any():
            x, y = self._projection()(points[known, 0], points[known, 1], inverse=inverse)
            result[known] = np.stack([x, y], axis=1)
        return result

    def _projection(self) -> Any:
        # Loaded late, because most analyses need no map. Created for each call, because such
        # objects must not be shared between threads.
        from pyproj import Proj

        return Proj(proj="aeqd", lon_0=self.longitude, lat_0=self.latitude, ellps="WGS84")


def _wrapped(degrees: Array) -> Array:
    """Return angles from -180 (not included) to 180."""
    return 180 - (180 - degrees) % 360
