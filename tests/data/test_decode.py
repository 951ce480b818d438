import io
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from kdsearch.data.decode import CorruptImageError, decode, decode_all, resized
from kdsearch.data.image_set import ImageSet
from kdsearch.data.walk import FORMATS
from kdsearch.errors import DataError

ORIENTATION = 0x0112
RED_LEFT = np.zeros((32, 32, 3), np.uint8)
RED_LEFT[:, :16, 0] = 255
RED_LEFT[:, 16:, 2] = 255


def stored(image, suffix, **options):
    file = io.BytesIO()
    image.save(file, suffix, **options)
    file.seek(0)
    return file


def test_an_image_of_the_right_size_keeps_its_pixels():
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    decoded = decode(stored(Image.fromarray(pixels), "PNG"), 32)
    assert decoded.dtype == torch.uint8
    assert torch.equal(decoded, torch.from_numpy(pixels).permute(2, 0, 1))


def test_gray_keeps_one_channel():
    pixels = np.arange(64, dtype=np.uint8).reshape(8, 8)
    assert torch.equal(decode(stored(Image.fromarray(pixels), "PNG"), 8), torch.from_numpy(pixels)[None])
    assert decode(stored(Image.fromarray(pixels), "JPEG"), 8).shape == (1, 8, 8)
    assert decode(stored(Image.fromarray(pixels).convert("1"), "PNG"), 8).unique().tolist() == [0, 255]


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_sixteen_bits_are_scaled_to_eight(kind):
    pixels = (np.arange(256) * 257).astype(np.uint16).reshape(16, 16)
    decoded = decode(stored(Image.fromarray(pixels), kind), 16)
    assert decoded.flatten().tolist() == list(range(256))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_is_turned_as_its_exif_data_say(orientation):
    upright = Image.fromarray(RED_LEFT)
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    turned = upright.transpose(undo[orientation]) if orientation in undo else upright
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    decoded = decode(stored(turned, "PNG", exif=exif), 32)
    assert torch.equal(decoded, torch.from_numpy(RED_LEFT).permute(2, 0, 1))


def test_transparency_lies_on_white():
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[:4, :, 3] = 255
    decoded = decode(stored(Image.fromarray(pixels, "RGBA"), "PNG"), 8)
    assert decoded.shape == (3, 8, 8)
    assert decoded[:, :4].unique().tolist() == [0]
    assert decoded[:, 4:].unique().tolist() == [255]
    gray = decode(stored(Image.fromarray(pixels, "RGBA").convert("LA"), "PNG"), 8)
    assert gray.shape == (1, 8, 8)
    assert gray[:, 4:].unique().tolist() == [255]


def test_a_palette_becomes_colour_and_its_transparent_entry_white():
    palette = Image.fromarray(RED_LEFT).convert("P", palette=Image.Palette.ADAPTIVE, colors=2)
    assert torch.equal(decode(stored(palette, "PNG"), 32), torch.from_numpy(RED_LEFT).permute(2, 0, 1))
    left = palette.getpixel((0, 0))
    decoded = decode(stored(palette, "PNG", transparency=left), 32)
    assert decoded[:, :, :16].unique().tolist() == [255]
    assert torch.equal(decoded[:, :, 16:], torch.from_numpy(RED_LEFT).permute(2, 0, 1)[:, :, 16:])


def test_cmyk_becomes_rgb():
    decoded = decode(stored(Image.fromarray(RED_LEFT).convert("CMYK"), "TIFF"), 32)
    assert torch.equal(decoded, torch.from_numpy(RED_LEFT).permute(2, 0, 1))
    jpeg = decode(stored(Image.fromarray(RED_LEFT).convert("CMYK"), "JPEG", quality=100), 32)
    assert (jpeg.int() - decoded.int()).abs().float().mean() < 8


def test_the_centre_square_is_kept():
    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, 10:20] = 200
    for pixels in (wide, wide.transpose(1, 0, 2).copy()):
        assert decode(stored(Image.fromarray(pixels), "PNG"), 10).unique().tolist() == [200]


def test_or_the_whole_image():
    thirds = np.repeat(np.array([0, 200, 100], np.uint8), 40)[None].repeat(30, 0)
    for pixels in (thirds, thirds.T.copy()):
        decoded = decode(stored(Image.fromarray(pixels), "PNG"), 30, "whole")
        assert decoded.shape == (1, 30, 30)
        line = decoded[0, 15] if pixels is thirds else decoded[0, :, 15]
        assert line[[2, 14, 27]].tolist() == [0, 200, 100]


def test_shrinking_averages_instead_of_picking():
    stripes = np.tile(np.array([0, 255], np.uint8), (64, 32))
    decoded = decode(stored(Image.fromarray(stripes), "PNG"), 8)
    assert 120 <= int(decoded.min()) <= int(decoded.max()) <= 135


def test_a_large_jpeg_is_as_if_decoded_in_full():
    ramp = np.linspace(0, 255, 1024).astype(np.uint8)
    across, down = np.tile(ramp, (1024, 1)), np.tile(ramp[:, None], (1, 1024))
    picture = Image.fromarray(np.stack([across, down, across], 2))
    small, exact = decode(stored(picture, "JPEG"), 32), decode(stored(picture, "PNG"), 32)
    assert (small.int() - exact.int()).abs().max() <= 4


def broken_files(folder):
    whole = stored(Image.fromarray(RED_LEFT).resize((200, 200)), "JPEG").getvalue()
    png = stored(Image.fromarray(RED_LEFT), "PNG").getvalue()
    files = {"cut.jpg": whole[:600], "cut.png": png[:60], "text.jpg": b"not an image", "empty.jpg": b""}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return [folder / name for name in files]


def test_a_broken_file_is_named(tmp_path):
    for path in broken_files(tmp_path):
        with pytest.raises(CorruptImageError, match=r"not a readable image .*data.skip_corrupt") as caught:
            decode(path, 8)
        assert str(caught.value).startswith(f"{path}: ")
        assert "\n" not in str(caught.value)


def test_a_file_is_read_as_one_of_the_named_formats_alone(tmp_path):
    for kind in ("EPS", "TGA", "ICO"):  # the first would go through Ghostscript
        path = tmp_path / f"{kind}.png"
        Image.fromarray(RED_LEFT).save(path, kind)
        with pytest.raises(
            CorruptImageError, match=r"it is none of JPEG, PNG, .*AVIF\); repair or remove it"
        ):
            decode(path, 8)


@pytest.mark.parametrize("kind", FORMATS)
def test_each_format_may_have_the_suffix_of_another(tmp_path, kind):
    path = tmp_path / "lying.png"
    Image.fromarray(RED_LEFT).save(path, kind)
    assert decode(path, 8).shape == (3, 8, 8)


@pytest.mark.parametrize("damaged", [0, 40])
def test_whatever_a_reader_raises_makes_a_corrupt_image(tmp_path, damaged):
    content = bytearray(stored(Image.fromarray(RED_LEFT), "AVIF").getvalue())
    start = content.find(b"mdat") + 6
    content[start : start + damaged] = bytes(damaged)
    path = tmp_path / "served.jpg"
    path.write_bytes(content)
    if damaged:
        with pytest.raises(CorruptImageError, match=r"served\.jpg: not a readable image \(Failed to decode"):
            decode(path, 8)
    else:
        assert decode(path, 8).shape == (3, 8, 8)


@pytest.mark.parametrize(("dtype", "kind"), [(np.int32, "32-bit integer"), (np.float32, "floating-point")])
def test_pixels_without_a_known_range_are_refused(tmp_path, dtype, kind):
    path = tmp_path / "wide.tif"
    Image.fromarray(np.arange(256).reshape(16, 16).astype(dtype)).save(path)
    with pytest.raises(CorruptImageError, match=f"{kind} pixels have no known range"):
        decode(path, 8)


@pytest.mark.parametrize("target", ["gone.jpg", "link.jpg", "text/inside.jpg"])
def test_a_link_that_leads_nowhere_is_a_corrupt_image(tmp_path, target):
    (tmp_path / "text").write_text("text")
    (tmp_path / "link.jpg").symlink_to(target)
    with pytest.raises(CorruptImageError, match=r"link\.jpg: a link that leads nowhere; .*data.skip_corrupt"):
        decode(tmp_path / "link.jpg", 8)


@pytest.mark.timeout(30)  # whoever opens a pipe waits for a writer
def test_a_named_pipe_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(DataError, match=r"pipe\.jpg: cannot be read \(Is a named pipe\)"):
        decode(tmp_path / "pipe.jpg", 8)


class Counted(list):
    """Files that raise a signal when one of them is asked for."""

    def __init__(self, files, at):
        super().__init__(files)
        self.asked, self.at = 0, at

    def __getitem__(self, index):
        self.asked += 1
        if self.asked == self.at:
            signal.raise_signal(signal.SIGTERM)
        return super().__getitem__(index)


@pytest.mark.parametrize("at", [1, 20, 300])
def test_a_signal_ends_the_decoding_at_the_images_it_is_at(tmp_path, progress, at):
    Image.fromarray(RED_LEFT).resize((1000, 1000)).save(tmp_path / "a.png")
    files = Counted([tmp_path / "a.png"] * 20_000, at)
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with pytest.raises(SystemExit):
            decode_all(files, 8, progress, "decode", skip_corrupt=False)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert at <= files.asked < at + 100


@pytest.mark.skipif(os.getuid() != 0, reason="root alone can become a user who may have two threads")
def test_where_no_thread_can_be_started_it_is_said():
    script = """
import os, resource
from kdsearch.data.threads import in_threads
from kdsearch.errors import DataError
os.setuid(54321)
limit = len(os.listdir("/proc/self/task")) + 1  # these, and the one that runs the pool
resource.setrlimit(resource.RLIMIT_NPROC, (limit, limit))
try:
    list(in_threads(lambda index: index, 3))
except DataError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout == "no thread can be started; the system's limit of processes is reached\n"


def test_a_missing_file_is_not_a_corrupt_one(tmp_path):
    with pytest.raises(DataError, match="No such file") as caught:
        decode(tmp_path / "gone.jpg", 8)
    assert not isinstance(caught.value, CorruptImageError)


def test_the_first_broken_file_stops_unless_broken_files_are_skipped(tmp_path, progress, draw_images):
    good = draw_images(tmp_path, "a.png", "b.png")
    files = [good / "a.png", *broken_files(tmp_path), good / "b.png"]
    with pytest.raises(DataError, match=r"cut\.jpg"):
        decode_all(files, 8, progress, "decode", skip_corrupt=False)
    decoded = decode_all(files, 8, progress, "decode", skip_corrupt=True)
    assert decoded.kept.tolist() == [0, 5]
    assert torch.equal(decoded.images, torch.stack([decode(files[0], 8), decode(files[-1], 8)]))


def test_progress_counts_up_to_all_files(tmp_path, progress, draw_images):
    names = [f"{index}.png" for index in range(130)]
    draw_images(tmp_path, *names)
    decode_all([tmp_path / name for name in names], 8, progress, "decode", skip_corrupt=False)
    assert progress.steps == [("decode", 64, 130), ("decode", 128, 130), ("decode", 130, 130)]


def test_only_gray_files_make_a_gray_set(tmp_path, progress, draw_images):
    draw_images(tmp_path, "colour.png")
    Image.open(tmp_path / "colour.png").convert("L").save(tmp_path / "gray.png")
    files = [tmp_path / "gray.png", tmp_path / "colour.png"]
    assert decode_all(files[:1], 8, progress, "", skip_corrupt=False).images.shape == (1, 1, 8, 8)
    both = decode_all(files, 8, progress, "", skip_corrupt=False).images
    assert torch.equal(both[0, 0], both[0, 2])
    assert not torch.equal(both[1, 0], both[1, 2])


@pytest.mark.parametrize("channels", [1, 3])
def test_resizing_a_set_equals_decoding_its_files(channels):
    images = torch.randint(0, 256, (3, channels, 9, 9), dtype=torch.uint8)
    small = resized(ImageSet(images, torch.arange(3), ("a", "b", "c"), "old"), 6)
    for before, after in zip(images, small.images, strict=True):
        pixels = before[0] if channels == 1 else before.permute(1, 2, 0)
        assert torch.equal(decode(stored(Image.fromarray(pixels.numpy()), "PNG"), 6), after)
    assert small.fingerprint != "old"
