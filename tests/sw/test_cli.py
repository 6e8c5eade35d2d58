import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import xnorcore
from xnorcore import zoo
from xnorcore.cli import main
from xnorcore.cli.console import Console, fold, table
from xnorcore.cli.drawing import gallery, picture
from xnorcore.files import xnorfile
from xnorcore.model import classes
from xnorcore.reference import fast, golden
from xnorcore.runtime import measure as report

from .cli_tools import SMALL, conv_network, deadline, network, one_object, runner, spawn, write_inputs

MEASURED = {
    "images", "mismatches", "cycles_per_image", "macs_per_image", "peak_macs_per_cycle", "efficiency",
    "link_utilisation", "wall_s", "geometry", "engine", "reference", "cycles_per_image_by_cause",
}  # fmt: skip


@pytest.fixture
def run(capsys):
    return runner(capsys)


@pytest.fixture
def files(tmp_path):
    return write_inputs(tmp_path)


# Light to import


@pytest.mark.parametrize("code", ["import xnorcore.cli", "from xnorcore.cli import main; main(['zoo'])"])
def test_import_is_light(code):
    heavy = "{'amaranth', 'torch', 'sklearn', 'scipy'} & {name.partition('.')[0] for name in sys.modules}"
    script = f"import sys; {code}; found = {heavy}; sys.exit(repr(found) if found else 0)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_help_and_version(capsys):
    version = f"xnorcore {xnorcore.__version__}\n"
    for argument, found in (("--help", "serve-sim"), ("--version", version), ("-V", version)):
        with pytest.raises(SystemExit) as stopped:
            main([argument])
        assert stopped.value.code == 0
        assert found in capsys.readouterr().out


def test_without_a_command_it_prints_the_help(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    wanted = capsys.readouterr()
    assert main([]) == 0
    assert capsys.readouterr() == wanted and "serve-sim" in wanted.out


# Commands without a device


def test_zoo(run):
    code, out, err = run("zoo", "--json")
    digits = next(entry for entry in one_object(out)["networks"] if entry["name"] == "digits")
    assert (code, err) == (0, "")
    assert digits["sizes"] == "64-256-128-10"
    assert digits["accuracy"] >= 0.96 and digits["test_images"] == 200
    assert "64-256-128-10" in run("zoo")[1]


def test_info(run):
    code, out, _ = run("info", "digits", "--json")
    value = one_object(out)
    assert code == 0 and value["fits"] and value["refusal"] is None
    assert [layer["output"] for layer in value["layers"]] == [[256], [128], [10]]
    assert [layer["beats"] for layer in value["layers"]] == [80, 32, 4]
    assert value["beats_per_batch"] == 116
    assert value["memory"]["weight_depth"] == {"used": 52, "available": 4096}
    assert value["image_bytes"] == 64


def test_info_predicts_the_cycles(run, files):
    net, images = files
    value = one_object(run("info", net, "--json", *SMALL)[1])
    measured = one_object(run("sim", net, images, "--json", *SMALL)[1])
    least, most = value["expected_cycles_per_batch"], value["one_image"]["expected_cycles"]
    assert least <= measured["cycles_per_image"] <= most


@pytest.mark.parametrize(
    ("options", "short"),
    [
        (["--set", "weight_depth=64", "--set", "act_depth=64"], {"weight_depth", "act_depth"}),
        (["--set", "acc_width=12", "--set", "weight_depth=64"], {"weight_depth", "acc_width"}),
    ],
)
def test_info_says_everything_that_is_missing(run, tmp_path, options, short):
    xnorfile.save(network((3000, 40, 2), bits=2 if "act_depth=64" in options else 1), tmp_path / "big.xnor")
    code, out, err = run("info", tmp_path / "big.xnor", "--json", *options)
    value = one_object(out)
    lacking = {
        name
        for name, entry in value["memory"].items()
        if entry["used"] is None or entry["used"] > entry["available"]
    }
    assert (code, err) == (1, "")
    assert lacking == short
    assert "the device has" in value["refusal"]
    text = run("info", tmp_path / "big.xnor", *options)[1]
    assert all(f"--set {name}=" in text for name in short)


@pytest.mark.parametrize("options", [[], ["--fast"], ["--classes"], ["--fast", "--classes"]])
def test_golden(run, tmp_path, files, options):
    net, images = files
    code, out, _ = run("golden", net, images, "-o", tmp_path / "out.npy", "--json", *options)
    value = one_object(out)
    expected = golden.run(network(), np.load(images))
    wanted = expected.argmax(axis=1) if "--classes" in options else expected
    written = np.load(tmp_path / "out.npy")
    assert code == 0 and value["images"] == 5
    assert value["model"] == ("fast" if "--fast" in options else "golden")
    assert written.dtype == np.int64
    np.testing.assert_array_equal(written, wanted)


# Commands with a device


@pytest.mark.parametrize("batch", [None, 2])
def test_sim(run, tmp_path, files, batch):
    net, images = files
    options = ["--batch", batch] if batch else []
    code, out, _ = run("sim", net, images, "-o", tmp_path / "out.npy", "--json", *SMALL, *options)
    value = one_object(out)
    expected = golden.run(network(), np.load(images))
    assert code == 0
    assert value.keys() >= MEASURED
    assert (value["images"], value["mismatches"], value["scores"]) == (5, 0, 15)
    assert value["macs_per_image"] == 20 * 12 + 12 * 3
    assert value["peak_macs_per_cycle"] == 64
    assert value["geometry"] == {"rows": 1, "columns": 8, "width": 8}
    assert value["link_utilisation"] is None
    assert value["reference"] == "golden"
    assert value["batch"] == (batch or 5)
    cause = value["cycles_per_image_by_cause"]
    total = cause["busy"] + cause["drain"] + sum(cause["idle"].values())
    assert value["cycles_per_image"] == pytest.approx(total)
    assert value["efficiency"] == pytest.approx(276 / (total * 64))
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), expected)


def test_sim_over_the_uart(run, files):
    net, images = files
    options = ["--link", "uart", "--baud", "1500000", "--no-verify"]
    value = one_object(run("sim", net, images, "--json", *SMALL, *options)[1])
    assert value["clocks_per_bit"] == 8
    # 3 bytes per image, 10 bits on the wire for each.
    assert value["link_utilisation"] == pytest.approx(5 * 3 * 10 * 8 / value["device_cycles"])
    assert 0 < value["link_utilisation"] < 1
    assert value["images_per_s"] == pytest.approx(5 * 12e6 / value["device_cycles"])


@pytest.mark.campaign
def test_sim_on_the_slow_engine(run, tmp_path, files):
    net, images = files
    options = ["--engine", "amaranth", "--no-verify", "--columns", "4", "--width", "8"]
    options += ["--set", "weight_depth=64", "--set", "act_depth=64", "--set", "threshold_depth=64"]
    slow = one_object(run("sim", net, images, "--json", *options)[1])
    options[1] = "compiled"
    fast = one_object(run("sim", net, images, "--json", *options)[1])
    assert slow["engine"] == "amaranth" and slow["mismatches"] == 0
    assert slow["device_cycles"] == fast["device_cycles"]
    assert slow["cycles_per_image_by_cause"] == fast["cycles_per_image_by_cause"]


def test_mismatches_exit_with_1(run, tmp_path, files, monkeypatch):
    def lies(*_, **__):
        expected = golden.layers(network(), np.load(files[1]))[-1]
        expected[2, 1] += 4
        return expected

    monkeypatch.setattr(report.golden, "run", lies)
    code, out, err = run("sim", *files, "-o", tmp_path / "out.npy", "--json", *SMALL)
    value = one_object(out)
    assert code == 1 and value["mismatches"] == 1
    assert "image 2, output 1" in value["first_mismatch"]
    assert "check failed: image 2, output 1" in err
    assert run("run", *files, "--port", "sim:columns=8,width=8", "-o", tmp_path / "o", "--check")[0] == 1


def test_large_runs_are_compared_with_the_fast_model(run, files, monkeypatch):
    monkeypatch.setattr(report, "GOLDEN_MACS", 5 * 276 - 1)
    value = one_object(run("sim", *files, "--json", *SMALL)[1])
    assert (value["reference"], value["mismatches"]) == ("fast", 0)


def test_demo(run):
    code, out, err = run("demo", "--count", "60", "--json", *SMALL, "--link", "direct")
    value = one_object(out)
    assert code == 0 and "Traceback" not in err
    assert value.keys() >= MEASURED | {"accuracy", "correct", "wrong"}
    assert (value["images"], value["mismatches"], value["network"]) == (60, 0, "digits")
    assert value["accuracy"] == value["correct"] / 60 >= 0.96


def test_demo_for_people(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = run("demo", *SMALL, "--link", "direct", "--no-verify")
    images, labels = zoo.test_images("digits")
    net = zoo.load("digits")
    correct = int((net.classify(golden.run(net, images)) == labels).sum())
    assert code == 0
    assert "█" in out and f"correct            {correct} (" in out
    assert "0 of 2,000 scores against golden" in out
    assert max(map(len, out.splitlines())) <= 80
    # A mistake is shown where there is one.
    assert "WRONG: " in out
    assert f"says {labels[0]}, is {labels[0]}" in out


def test_demo_says_the_names_of_classes(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = run("demo", "--net", "fashion", "--count", "4", *SMALL, "--link", "direct")
    assert code == 0 and "says Ankle boot, is Ankle boot" in out and "says Trouser, is Trouser" in out


@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        (["cat", "dog", "T-shirt/top"], ["cat", "dog", "T-shirt/top"]),
        (["cat", "\x1b[2J", " "], ["cat", "1", "2"]),
        (["c" * 10**6, "dog", "ox"], ["c" * 24, "dog", "ox"]),
        (["cat", "dog"], ["0", "1", "2"]),
        (["cat", "dog", 7], ["0", "1", "2"]),
        ({"0": "cat"}, ["0", "1", "2"]),
        (None, ["0", "1", "2"]),
    ],
)
def test_names_of_classes(stored, shown):
    assert classes.names({} if stored is None else {"classes": stored}, 3) == shown


def test_demo_of_large_pictures(run, monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (6, 28, 28, 1), dtype=np.uint8)
    net = conv_network((28, 28, 1), stride=(4, 4))
    monkeypatch.setattr(zoo, "load", lambda name: net)
    monkeypatch.setattr(zoo, "test_images", lambda name: (images, np.zeros(6, np.int64)))
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = run("demo", "--net", "pictures", *SMALL, "--link", "direct")
    lines = out.splitlines()
    assert code == 0 and max(map(len, lines)) <= 80
    # Four pictures of 14 lines and a caption, in two rows.
    assert lines[14].count("is 0") == lines[30].count("is 0") == 2
    assert out.count("is 0") == 4
    assert "28x28x1-7x7x4-3" in out


@pytest.mark.campaign
def test_rows_share_an_image(run, tmp_path):
    net = conv_network((12, 12, 2))
    xnorfile.save(net, tmp_path / "conv.xnor")
    np.save(tmp_path / "in.npy", np.random.default_rng(1).integers(0, 256, (4, 12, 12, 2)))
    command = ["sim", tmp_path / "conv.xnor", tmp_path / "in.npy", *SMALL, "--rows", "2"]
    together, alone = (one_object(run(*command, "--json", *more)[1]) for more in ([], ["--batch", "1"]))
    assert (together["spread"], alone["spread"]) == (False, True)
    assert (together["batches"], alone["batches"]) == (2, 4)
    assert together["mismatches"] == alone["mismatches"] == 0
    assert "rows share an image" in run(*command, "--batch", "1")[1]
    value = one_object(run("info", tmp_path / "conv.xnor", *SMALL, "--rows", "2", "--json")[1])
    assert value["one_image"]["spread"] and value["images_per_batch"] == 2
    assert alone["cycles_per_image"] == value["one_image"]["expected_cycles"]
    assert "strips" in run("info", tmp_path / "conv.xnor", *SMALL, "--rows", "2")[1]


@pytest.mark.campaign
def test_network_in_passes(run, tmp_path):
    xnorfile.save(conv_network((9, 9, 2), channels=64), tmp_path / "conv.xnor")
    np.save(tmp_path / "in.npy", np.random.default_rng(1).integers(0, 256, (2, 9, 9, 2)))
    options = [*SMALL, "--set", "weight_depth=400"]
    value = one_object(run("sim", tmp_path / "conv.xnor", tmp_path / "in.npy", *options, "--json")[1])
    assert value["mismatches"] == 0 and value["passes"] > 1
    # The counters know the first pass only: no figure is better than a wrong one.
    assert value["cycles_per_image"] is value["efficiency"] is None
    text = run("info", tmp_path / "conv.xnor", *options)[1]
    assert "in passes; at once with --set weight_depth=" in text and "bytes of weights cross" in text


def test_info_of_a_convolutional_network(run, tmp_path):
    xnorfile.save(conv_network((12, 12, 2), padding=(1, 1, 1, 1), pool=True), tmp_path / "conv.xnor")
    value = one_object(run("info", tmp_path / "conv.xnor", "--json")[1])
    kinds = [layer["kind"] for layer in value["layers"]]
    assert kinds == ["conv2d", "maxpool2d", "dense"]
    assert value["layers"][0]["window"] == [3, 3] and value["layers"][0]["padding"] == [1, 1, 1, 1]
    assert value["layers"][1]["beats"] is None
    text = run("info", tmp_path / "conv.xnor")[1]
    assert "conv2d 3x3+1" in text and "maxpool2d 2x2" in text


def test_run(run, tmp_path, files):
    net, images = files
    port = "sim:columns=8,width=8"
    code, out, _ = run("run", net, images, "--port", port, "-o", tmp_path / "out.npy", "--json", "--check")
    value = one_object(out)
    assert code == 0 and value["mismatches"] == 0 and value["uploaded"] is True
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), golden.run(network(), np.load(images)))
    assert "mismatches" not in one_object(
        run("run", net, images, "--port", port, "-o", tmp_path / "out.npy", "--json", "--classes")[1]
    )
    np.testing.assert_array_equal(
        np.load(tmp_path / "out.npy"), golden.run(network(), np.load(images)).argmax(axis=1)
    )
    for link, said in (("direct", True), ("uart", False)):
        out = run("run", net, images, "--port", f"{port},link={link}", "-o", tmp_path / "out.npy")[1]
        assert "images per second" in out and ("as no wire limits it: link=uart" in out) is said


def test_serve_sim(run, tmp_path, files):
    net, images = files
    server = spawn("serve-sim", "--json", *SMALL)
    assert server.stdout and server.stderr
    with deadline(server):
        value = one_object(server.stdout.readline())
        assert value["url"] == f"serial:{value['path']}" and value["example"].startswith("xnorcore run ")
        for uploaded in (True, False):  # the device keeps its network between two clients
            arguments = ["run", net, images, "--port", value["url"], "-o", tmp_path / "out.npy", "--check"]
            code, out, err = run(*arguments, "--json")
            assert code == 0, err
            found = one_object(out)
            assert found["uploaded"] is uploaded and found["mismatches"] == 0
            assert found["device_cycles"] is None and found["link_utilisation"] is None
        server.send_signal(signal.SIGINT)
        out, err = server.communicate(timeout=20)
    assert (server.returncode, out) == (0, "")
    assert "stopped" in err and "Traceback" not in err


# Doctor and bench


def test_doctor(run):
    code, out, _ = run("doctor", "--json")
    value = one_object(out)
    checks = {check["name"]: check for check in value["checks"]}
    assert (code, value["ready"]) == (0, True)
    assert checks["python"]["ok"] and checks["numpy"]["found"] == np.__version__
    assert {"amaranth", "C++ compiler", "engine", "cache", "yosys", "serial ports", "networks"} <= set(checks)
    assert all(check["fix"] for check in value["checks"] if not check["ok"])
    assert "the demo can run" in run("doctor")[1]


def test_doctor_finds_what_is_missing(run, tmp_path, monkeypatch):
    from xnorcore.cli import doctor

    requirements = ["numpy>=99", "nosuchthing>=1.5", 'nobody-has-this>=2; extra == "train"']
    requirements.append('ziglang>=0.13; extra == "zig"')
    monkeypatch.setattr(doctor.metadata, "requires", lambda _: requirements)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XNORCORE_CACHE", str(tmp_path / "file" / "cache"))
    monkeypatch.setenv("CXX", "no-such-compiler")
    code, out, _ = run("doctor", "--json")
    value = one_object(out)
    checks = {check["name"]: check for check in value["checks"]}
    assert (code, value["ready"]) == (1, False)
    assert checks["numpy"]["status"] == "MISSING" and "too old" in checks["numpy"]["found"]
    assert checks["nosuchthing"]["fix"].endswith('-m pip install "nosuchthing>=1.5"')
    assert checks["extra [train]"]["status"] == "absent"
    assert '"nobody-has-this>=2"' in checks["extra [train]"]["fix"]
    assert checks["C++ compiler"]["status"] == "MISSING" and "ziglang" in checks["C++ compiler"]["fix"]
    assert "XNORCORE_CACHE" in checks["cache"]["fix"]
    text = run("doctor")[1]
    assert "to mend:" in text and "the demo cannot run yet" in text


def test_doctor_without_any_compiler(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ziglang", None)  # a compiler that no PATH hides
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    code, out, _ = run("doctor", "--json")
    check = next(check for check in one_object(out)["checks"] if check["name"] == "C++ compiler")
    assert code == 1
    assert check["fix"].startswith(sys.executable) and 'install "ziglang' in check["fix"]


def test_bench(run):
    code, out, err = run("bench", "compile", "fast", "--json")
    value = one_object(out)
    assert (code, value["passed"]) == (0, True)
    assert [figure["bench"] for figure in value["figures"]] == ["fast", "compile"]
    for figure in value["figures"]:
        assert figure["value"] <= figure["limit"] and figure["passed"] and not figure["at_least"]
    assert "compile" in err


def test_bench_network_for_colour_images():
    from xnorcore_hw.bench.cnn import random_cnv

    net = random_cnv()
    assert (net.macs, net.shapes[0], net.shapes[-1]) == (70_347_776, (32, 32, 3), (10,))
    # Scores that do not depend on the image would hide wrong bits.
    scores = fast.run(net, np.random.default_rng(0).integers(0, 256, (4, 3072)))
    assert (scores.std(axis=0) > 0).all()


def test_bench_fails_where_a_figure_misses(run, monkeypatch):
    from xnorcore_hw.bench import command as bench
    from xnorcore_hw.bench.figure import Figure

    def figures(console):
        yield Figure("lfc", "low", 0.5, 0.95, True, "", {}, ("  more",))
        yield Figure("lfc", "high", 11, 10, False, "cycles", {})
        yield Figure("lfc", "exact", 10, 10, False, "cycles", {})

    monkeypatch.setattr(
        bench, "benchmarks", lambda *numbers: dict.fromkeys(bench.NAMES, ("nothing", figures))
    )
    code, out, _ = run("bench", "lfc", "--json")
    assert code == 1 and not one_object(out)["passed"]
    assert [figure["passed"] for figure in one_object(out)["figures"]] == [False, False, True]
    code, out, _ = run("bench", "lfc")
    assert code == 1 and out.count("FAIL") == 2 and "  more" in out


def test_bench_names_are_those_of_the_parser():
    from xnorcore_hw.bench import command as bench

    assert tuple(bench.benchmarks(1, 1, 0)) == bench.NAMES


# Interruptions and outputs


@pytest.mark.parametrize(
    ("sent", "status", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_interrupt_leaves_no_file(tmp_path, files, sent, status, word):
    before = set(tmp_path.iterdir())
    options = ["--engine", "amaranth", "--rows", "8", "-o", tmp_path / "out.npy", "--json"]
    command = spawn("sim", *files, *options)
    assert command.stdout and command.stderr
    with deadline(command):
        assert "preparing" in command.stderr.readline()
        command.send_signal(sent)
        out, err = command.communicate()
    assert (command.returncode, out) == (status, "")
    assert err == f"xnorcore: {word}\n"
    assert set(tmp_path.iterdir()) == before


def test_interrupt_while_writing_leaves_the_old_file(run, tmp_path, files, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    (tmp_path / "out.npy").write_bytes(b"old")
    before = set(tmp_path.iterdir())
    monkeypatch.setattr(os, "fsync", interrupted)
    code, out, err = run("golden", *files, "-o", tmp_path / "out.npy")
    assert (code, out, err) == (130, "", "xnorcore: interrupted\n")
    assert (tmp_path / "out.npy").read_bytes() == b"old" and set(tmp_path.iterdir()) == before


def test_reader_of_the_pipe_is_gone():
    command = spawn("zoo")
    assert command.stdout and command.stderr
    command.stdout.close()
    assert command.wait(30) == 141
    assert command.stderr.read() == ""
    command.stderr.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_full_disk():
    with Path("/dev/full").open("w") as full:
        command = spawn("zoo", stdout=full)
        _, err = command.communicate(timeout=120)
    assert command.returncode == 2
    assert err.startswith("xnorcore: error: ") and err.count("\n") == 1


def test_terminal_without_block_characters():
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    command = spawn("demo", "--count", "2", *SMALL, "--link", "direct", env=environment)
    out, _ = command.communicate(timeout=60)
    assert command.returncode == 0 and out.isascii() and "##" in out


# Layout


def test_picture():
    image = np.array([[0, 16], [8, 4]]).reshape(2, 2, 1)
    assert picture(image, 16) == ["  ██", "▒▒░░"]
    assert picture(np.array([0, 1, 1]), 1) == ["  ████"]
    wide = picture(np.ones((20, 20, 3)), 1)
    assert len(wide) == 10 and set(wide) == {"█" * 20}

    # A vector that can be a square is one: 28 x 28 pixels come as 784 values, too.
    assert picture(np.arange(784), 783) == picture(np.arange(784).reshape(28, 28, 1), 783)
    assert [len(line) for line in picture(np.arange(784), 783)] == [28] * 14


def test_fold():
    assert fold(["one", ", two", ", three"], 10) == ["one, two", "three"]
    assert fold(["a long part", "-b"], 4) == ["a long part", "-b"]


def test_gallery():
    pictures = [["ab", "cd"]] * 3
    assert gallery(pictures, ["x", "yyy", "z"], 9) == [
        "ab    ab", "cd    cd", "x     yyy", "", "ab", "cd", "z", "",
    ]  # fmt: skip


def test_table():
    assert table([("a", "1.5"), ("bb", "22")], ("name", "x"), " ") == [
        " name    x", " ----  ---", " a     1.5", " bb     22",
    ]  # fmt: skip


def test_progress_on_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    console = Console()
    console._last = -1e9
    console.count("loading", 10, 2000)
    console.count("loading", 11, 2000)  # too soon
    console.say("done")
    err = capsys.readouterr().err
    assert err == "\rloading: 10 of 2,000\r                    \rdone\n"
