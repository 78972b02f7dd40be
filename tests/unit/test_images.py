import numpy as np
import pytest
from PIL import Image, ImageCms

from fun.data.images import (
    MASKS,
    ImageError,
    check_picture,
    check_shape,
    load_image,
    load_mask,
    make_mask,
    read_picture,
    to_picture,
)

pytestmark = pytest.mark.filterwarnings("ignore:.*the same colour everywhere")


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


@pytest.mark.parametrize("key, shown", [(0, 1), (65535, -1)])
def test_sixteen_bits_with_a_transparent_grey(tmp_path, key, shown):
    black = Image.fromarray(np.zeros((16, 16), np.uint16))
    with pytest.warns(UserWarning, match="picture.png has the same colour everywhere"):
        assert (load_image(save(tmp_path, black, transparency=key), 16) == shown).all()


def display_p3():
    """An ICC profile with the primaries of Display P3 and a gamma of 2.2, and the matrix (3, 3) from its RGB to XYZ."""
    to_xyz = np.array([[0.51512, 0.29198, 0.1571], [0.24120, 0.69225, 0.06657], [-0.00105, 0.04189, 0.78407]])

    def number(x):
        return round(x * 65536).to_bytes(4, "big", signed=True)

    tags = {name: b"XYZ \0\0\0\0" + b"".join(map(number, column)) for name, column in zip("rgb", to_xyz.T, strict=True)}
    tags = {f"{name}XYZ": content for name, content in tags.items()}
    tags |= {f"{name}TRC": b"curv\0\0\0\0\0\0\0\1" + round(2.2 * 256).to_bytes(2, "big") + b"\0\0" for name in "rgb"}
    tags["wtpt"] = b"XYZ \0\0\0\0" + b"".join(map(number, to_xyz.sum(1)))
    table, content = len(tags).to_bytes(4, "big"), b""
    for name, tag in tags.items():
        offset = 128 + 4 + 12 * len(tags) + len(content)
        table, content = table + name.encode() + offset.to_bytes(4, "big") + len(tag).to_bytes(4, "big"), content + tag
    header = bytearray(128)
    header[:4] = (128 + len(table) + len(content)).to_bytes(4, "big")
    header[8:12], header[12:24], header[36:40] = b"\4\0\0\0", b"mntrRGB XYZ ", b"acsp"
    header[68:80] = b"".join(map(number, (0.9642, 1, 0.8249)))
    return bytes(header) + table + content


def test_colours_of_another_profile_are_converted(tmp_path):
    """Display P3's green is more saturated than sRGB can show: its red is clipped."""
    picture = Image.new("RGBA", (16, 16), (52, 199, 89, 255))
    picture.paste((52, 199, 89, 0), (0, 8, 16, 16))
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    for name, kind in (("p3.png", picture), ("p3.jpg", picture.convert("RGB")), ("palette.png", picture.quantize(4))):
        r, g, b = read_picture(save(tmp_path, kind, name, icc_profile=display_p3(), exif=exif)).getpixel((5, 12))
        assert r <= 5 and 200 <= g <= 208 and 66 <= b <= 76, name
    assert read_picture(tmp_path / "p3.png").getpixel((5, 3)) == (255, 255, 255), "transparency is white in any profile"


def test_a_profile_that_changes_nothing_or_does_not_fit_is_as_none(tmp_path):
    levels, srgb = noise(16, 16), ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for profile in (srgb, b"no profile", display_p3()[:200]):
        read = read_picture(save(tmp_path, Image.fromarray(levels), icc_profile=profile))
        assert np.array_equal(np.asarray(read), levels)
    cmyk = Image.fromarray(levels).convert("CMYK")
    plain = read_picture(save(tmp_path, cmyk, "plain.tif"))
    assert read_picture(save(tmp_path, cmyk, "odd.tif", icc_profile=srgb)).tobytes() == plain.tobytes()


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
    save(tmp_path, Image.fromarray(noise(8, 8)), "texture.dds")
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
    refused = ["texture.dds", "huge.png", "large.png", "numbers.tif", "integers.tif", "folder.png", "absent.png"]
    for name in [*contents, *refused]:
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
    with pytest.raises(ValueError, match="unknown mask 'circle'.*left"):
        make_mask("circle", 16)


LEFT = make_mask("left", 64)


@pytest.mark.parametrize(
    "mask",
    [
        Image.fromarray(LEFT),
        Image.fromarray(LEFT.astype(np.uint8)),  # values 0 and 1
        Image.fromarray(LEFT.astype(np.uint16)),
        Image.fromarray(LEFT.astype(np.uint16) * 65535),
        Image.fromarray(LEFT.astype(np.uint8)).convert("RGB"),
        Image.merge("LA", [Image.new("L", (64, 64), "white"), Image.fromarray(LEFT).convert("L")]),
        Image.merge("LA", [Image.new("L", (64, 64), "black"), Image.fromarray(LEFT).convert("L")]),
        Image.merge("LA", [Image.fromarray(LEFT).convert("L"), Image.new("L", (64, 64), 90)]),  # alpha does not vary
    ],
    ids=[
        "bits",
        "0-1",
        "0-1-16-bits",
        "16-bits",
        "0-1-colour",
        "white-on-nothing",
        "black-on-nothing",
        "constant-alpha",
    ],
)
def test_masks_as_programs_write_them(tmp_path, mask):
    assert np.array_equal(load_mask(save(tmp_path, mask), 16), make_mask("left", 16))


def test_a_mask_of_floating_point_zeros_and_ones(tmp_path):
    assert np.array_equal(
        load_mask(save(tmp_path, Image.fromarray(LEFT.astype(np.float32)), "mask.tif"), 16), LEFT[::4, ::4]
    )


def test_a_mask_that_chooses_nothing_or_everything_is_refused(tmp_path):
    thin = np.zeros((512, 512), np.uint8)
    thin[:, 100:104] = 255
    red = Image.fromarray(np.where(LEFT[..., None], [255, 0, 0], 0).astype(np.uint8))
    nothing, everything = "light in 0 of 256 pixels (0 %)", "light in 256 of 256 pixels (100 %)"
    masks = {"thin": Image.fromarray(thin), "black": Image.new("L", (64, 64)), "red": red}
    for name, mask in (masks | {"white": Image.new("L", (64, 64), "white")}).items():
        with pytest.raises(ImageError) as refusal:
            load_mask(save(tmp_path, mask, f"{name}.png"), 16)
        said = str(refusal.value)
        assert f"{name}.png, scaled to 16 x 16, is {everything if name == 'white' else nothing}" in said
        assert "at least 128 of 255" in said


def test_a_mask_has_the_shape_of_the_upright_picture(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # stored as 40 x 30, upright 30 x 40
    stored = Image.fromarray(noise(30, 40))
    for kind in ("png", "jpg", "tif", "webp"):
        picture = save(tmp_path, stored, f"phone.{kind}", exif=exif)
        assert read_picture(picture).size == (30, 40)
        for size in ((30, 40), (60, 80), (300, 401), (299, 399), (3, 4)):
            check_shape(save(tmp_path, Image.new("1", size), "mask.png"), picture)
        check_shape(save(tmp_path, Image.new("1", (40, 30)), "turned.png", exif=exif), picture)
        for size in ((40, 30), (40, 40), (302, 400)):
            with pytest.raises(
                ImageError, match=rf"mask.png has {size[0]} x {size[1]} .*phone.{kind}, which has 30 x 40"
            ):
                check_shape(save(tmp_path, Image.new("1", size), "mask.png"), picture)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\0\0\0\x24ftypheic\0\0\0\0mif1heic", "is HEIC: export it as JPEG"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "is a git-LFS pointer"),
        (b"\n<!DOCTYPE html>\n<html lang='en'>", "is a web page"),
        (b"", "is empty"),
        (b"GIMP", "is damaged or not a picture of a known kind"),
    ],
)
def test_what_is_no_picture_is_told_from_its_beginning(tmp_path, content, said):
    path = tmp_path / "photo.jpg"
    path.write_bytes(content)
    with pytest.raises(ImageError) as refusal:
        check_picture(path)
    assert str(refusal.value).startswith(f"{path} {said}")
    assert "JPEG, PNG, WebP, GIF, TIFF, BMP and AVIF are read, of up to 64,000,000 pixels" in str(refusal.value)


def test_a_header_is_enough_to_refuse_too_many_pixels(tmp_path):
    for side in (8001, 30000):
        path = save(tmp_path, Image.new("1", (side, side)))
        path.write_bytes(path.read_bytes()[:100])
        with pytest.raises(ImageError, match="too many pixels: .* up to 64,000,000"):
            check_picture(path)


def test_to_picture_clips():
    x = np.array([-5.0, -1.0, 0.0, 1.0, 5.0], np.float32)
    picture = to_picture(np.broadcast_to(x, (3, 1, 5)))
    assert np.asarray(picture)[0, :, 0].tolist() == [0, 0, 128, 255, 255]
