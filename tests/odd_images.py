"""Image files of every kind that image processors treat in a way of their own."""

import numpy as np
from PIL import Image

SHAPES = (
    (1, 1),
    (1, 2),
    (2, 1),
    (1, 50),
    (50, 1),
    (3, 2),
    (9, 100),
    (100, 9),
    (33, 33),
)
SHAPES += ((31, 64), (50, 71), (71, 50), (200, 120))


def odd_images():
    """Name of each file -> the image, and how it is saved beyond its suffix."""
    rng = np.random.default_rng(7)

    def noise(*shape, most=256, dtype=np.uint8):
        return rng.integers(0, most, shape).astype(dtype)

    def of(mode, height, width):
        channels = noise(height, width, len(mode))
        return Image.merge(
            mode, [Image.fromarray(c) for c in np.moveaxis(channels, -1, 0)]
        )

    images = {f"rgb-{h}x{w}.png": (of("RGB", h, w), {}) for h, w in SHAPES}
    for k, (height, width) in enumerate(((50, 71), (1, 1), (64, 20))):
        images[f"rgba-{k}.png"] = (of("RGBA", height, width), {})
        images[f"la-{k}.png"] = (of("LA", height, width), {})
        gray = Image.fromarray(noise(height, width))
        images[f"gray-{k}.png"] = (gray, {})
        deep = noise(height, width, most=2**16, dtype=np.uint16)
        images[f"gray-16-bit-{k}.png"] = (Image.fromarray(deep), {})
    plain = of("RGB", 40, 60)
    clear, solid = (
        Image.fromarray(np.dstack([np.asarray(plain), np.full((40, 60), a, np.uint8)]))
        for a in (0, 255)
    )
    few = plain.quantize(16)
    dark = noise(40, 60, most=256, dtype=np.uint16)
    rotated = Image.Exif()
    rotated[0x0112] = 6
    images |= {
        "clear.png": (clear, {}),
        "solid.png": (solid, {}),
        "rgba.webp": (of("RGBA", 30, 41), {"lossless": True}),
        "rgba.tif": (of("RGBA", 30, 41), {}),
        "palette.png": (few, {}),
        "palette-one-color-clear.png": (few, {"transparency": 3}),
        "palette-alpha.png": (few, {"transparency": bytes(range(0, 256, 16))}),
        "palette-clear.gif": (few, {"transparency": 5}),
        "gray-one-value-clear.png": (images["gray-0.png"][0], {"transparency": 128}),
        "rgb-one-color-clear.png": (plain, {"transparency": plain.getpixel((3, 4))}),
        "bits.png": (Image.fromarray(noise(40, 60, most=2) > 0), {}),
        "gray-16-bit-dark.png": (Image.fromarray(dark), {}),
        "gray-16-bit.tif": (Image.fromarray(257 * dark), {}),
        "cmyk.tif": (of("CMYK", 40, 60), {}),
        "turned.jpg": (plain, {"exif": rotated}),
        "photograph.jpg": (plain, {"quality": 80}),
    }
    return images
