import numpy as np
import pytest
from PIL import Image

from fun.data.images import MASKS, ImageError, load_image, load_mask, make_mask, to_picture


def save(tmp_path, picture, name="picture.png", **options):
    picture.save(tmp_path / name, **options)
    return tmp_path / name


def noise(height, width, channels=3):
    return np.random.default_rng(0).integers(0, 256, (height, width, channels), dtype=np.uint8)


def test_short_side_and_centre(tmp_path):
    picture = Image.new("RGB", (400, 100), "black")
    picture.paste("red", (150, 0, 250, 100))
    x = load_image(save(tmp_path, picture), 32)
    assert x.shape == (3, 32, 32) and x.dtype == np.float32
    assert (x[0, :, 2:-2] > 0.98).all() and (x[1:] < -0.98).all()


def test_a_picture_of_the_right_size_is_kept_to_the_bit(tmp_path):
    levels = noise(16, 16)
    x = load_image(save(tmp_path, Image.fromarray(levels)), 16)
    assert np.array_equal(np.asarray(to_picture(x)), levels)


def test_exif_orientation(tmp_path):
    picture = Image.new("RGB", (32, 32), "black")
    picture.paste("white", (0, 0, 32, 16))  # white at the top
    exif = Image.Exif()
    exif[0x0112] = 6  # must be turned by 90 degrees clockwise: white on the right
    x = load_image(save(tmp_path, picture, "turned.jpg", exif=exif, quality=100), 32)
    assert x[:, :, 20:].min() > 0.9 and x[:, :, :12].max() < -0.9


def test_alpha_over_white(tmp_path):
    picture = Image.new("RGBA", (16, 16), (0, 0, 0, 0))
    picture.paste((255, 0, 0, 255), (0, 0, 16, 8))
    x = load_image(save(tmp_path, picture), 16)
    assert (x[:, 8:] == 1).all()
    assert (x[0, :8] == 1).all() and (x[1:, :8] == -1).all()
    palette = picture.quantize(4)
    assert (load_image(save(tmp_path, palette, "palette.png"), 16)[:, 10:] == 1).all()


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr", "LA"])
def test_modes(tmp_path, mode):
    name = "picture.tif" if mode in ("CMYK", "YCbCr") else "picture.png"
    x = load_image(save(tmp_path, Image.new("RGB", (20, 20), "white").convert(mode), name), 8)
    assert x.shape == (3, 8, 8) and x.min() > 0.98


def test_sixteen_bits(tmp_path):
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    x = load_image(save(tmp_path, Image.fromarray(ramp)), 16)
    assert np.abs(x[0] - (ramp / 32767.5 - 1)).max() < 0.01


def test_animations_count_with_their_first_frame(tmp_path):
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("white", "black")]
    path = save(tmp_path, frames[0], "moving.gif", save_all=True, append_images=frames[1:])
    assert (load_image(path, 16) == 1).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1)])
def test_extreme_shapes(tmp_path, size):
    assert load_image(save(tmp_path, Image.new("RGB", size, "white")), 16).shape == (3, 16, 16)


def test_refusals_name_the_file(tmp_path):
    whole = save(tmp_path, Image.fromarray(noise(64, 64)), "whole.png").read_bytes()
    jpeg = save(tmp_path, Image.fromarray(noise(64, 64)), "whole.jpg").read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 255
    contents = {
        "truncated.png": whole[: len(whole) // 2],
        "header_only.png": whole[:40],
        "truncated.jpg": jpeg[: len(jpeg) // 2],
        "flipped.png": bytes(flipped),
        "empty.png": b"",
        "text.png": b"not a picture",
        "drawing.png": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    save(tmp_path, Image.new("1", (30000, 30000)), "huge.png")
    save(tmp_path, Image.new("1", (9000, 9000)), "large.png")
    save(tmp_path, Image.fromarray(np.zeros((4, 4), np.float32)), "numbers.tif")
    save(tmp_path, Image.fromarray(np.full((4, 4), 1 << 20, np.int32)), "integers.tif")
    (tmp_path / "folder.png").mkdir()
    for name in [*contents, "huge.png", "large.png", "numbers.tif", "integers.tif", "folder.png", "absent.png"]:
        with pytest.raises(ImageError, match=name) as refusal:
            load_image(tmp_path / name, 16)
        assert "\n" not in str(refusal.value)


def test_masks(tmp_path):
    for shape in MASKS:
        mask = make_mask(shape, 16)
        assert mask.shape == (16, 16) and mask.dtype == bool and 0 < mask.sum() < 256
        assert np.array_equal(make_mask(shape, 32), mask.repeat(2, 0).repeat(2, 1)), "independent of the resolution"
    assert make_mask("right", 4)[0].tolist() == [False, False, True, True]
    assert make_mask("hole", 8).sum() == 16 and np.array_equal(make_mask("hole", 8), ~make_mask("frame", 8))
    path = save(tmp_path, Image.fromarray(make_mask("left", 64)))
    assert np.array_equal(load_mask(path, 16), make_mask("left", 16))
    with pytest.raises(ValueError, match="unknown mask 'circle'.*left"):
        make_mask("circle", 16)


def test_to_picture_clips():
    x = np.array([-5.0, -1.0, 0.0, 1.0, 5.0], np.float32)
    picture = to_picture(np.broadcast_to(x, (3, 1, 5)))
    assert np.asarray(picture)[0, :, 0].tolist() == [0, 0, 128, 255, 255]
