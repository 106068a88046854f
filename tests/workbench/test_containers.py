"""What a container leaves of the memory, in trees of files as Linux, Docker and Kubernetes show them."""

import pytest

from labkit.workbench import containers, room

V2 = ("memory.max", "memory.current", "inactive_file")
V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def _group(folder, names, limit, used, spare=0):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / names[0]).write_text(f"{limit}\n")
    (folder / names[1]).write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 5\n{names[2]} {spare}\n")


def _machine(root, *lines):
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text("".join(f"{line}\n" for line in lines))
    return root


def test_in_a_container_the_limit_counts_and_files_at_hand_are_free(tmp_path):
    _group(_machine(tmp_path, "0::/") / "sys/fs/cgroup", V2, 2_000, 1_500, 300)
    assert containers.free_memory(tmp_path) == 800


def test_the_narrowest_of_the_groups_around_it_counts(tmp_path):
    top = _machine(tmp_path, "0::/pods/learner") / "sys/fs/cgroup"
    _group(top / "pods/learner", V2, "max", 100)
    _group(top / "pods", V2, 1_000, 900)
    _group(top, V2, 5_000, 900)
    assert containers.free_memory(tmp_path) == 100


@pytest.mark.parametrize("visible", [True, False], ids=["its own path", "only the top"])
def test_the_older_kind_of_groups(tmp_path, visible):
    top = _machine(tmp_path, "5:cpu:/x", "4:memory:/docker/abc") / "sys/fs/cgroup/memory"
    _group(top / "docker/abc" if visible else top, V1, 2_000, 500)
    assert containers.free_memory(tmp_path) == 1_500


def test_more_used_than_allowed_leaves_nothing(tmp_path):
    _group(_machine(tmp_path, "0::/") / "sys/fs/cgroup", V2, 1_000, 1_200)
    assert containers.free_memory(tmp_path) == 0


def test_without_a_limit_or_without_groups_there_is_nothing_to_say(tmp_path):
    assert containers.free_memory(tmp_path) is None
    top = _machine(tmp_path, "4:memory:/", "0::/") / "sys/fs/cgroup"
    _group(top, V2, "max", 100)
    _group(top / "memory", V1, 9_223_372_036_854_771_712, 100)
    assert containers.free_memory(tmp_path) is None


@pytest.mark.parametrize("limit, told", [(1e3, 1e3), (1e18, None), (None, None)])
def test_the_room_of_a_page_is_the_smaller_of_the_two(monkeypatch, limit, told):
    monkeypatch.setattr(containers, "free_memory", lambda: None)
    machine = room.free("cpu")
    monkeypatch.setattr(containers, "free_memory", lambda: limit)
    assert room.free("cpu") == pytest.approx(machine if told is None else told, rel=0.5)
