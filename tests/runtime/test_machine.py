"""What is free of a machine is the least of what the system and its control groups say."""

import os
from pathlib import Path

from npdata.runtime.machine import free_of_machine

EVERYTHING = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


class TestFreeMemory:
    def write(self, root: Path, files: dict[str, str]) -> Path:
        for name, text in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
        return root

    def test_is_what_the_system_has_available(self, tmp_path: Path) -> None:
        root = self.write(tmp_path, {"proc/meminfo": "MemFree: 1 kB\nMemAvailable:  100 kB\n"})
        assert free_of_machine(root) == 102400

    def test_is_what_the_tightest_group_has_left(self, tmp_path: Path) -> None:
        group = "sys/fs/cgroup/a"
        files = {
            "proc/meminfo": "MemAvailable:  100 kB\n",
            "proc/self/cgroup": "0::/a/b\n",
            f"{group}/b/memory.max": "max\n",
            f"{group}/b/memory.current": "5\n",
            f"{group}/memory.max": "9000\n",
            f"{group}/memory.current": "5000\n",
            f"{group}/memory.stat": "anon 7\ninactive_file 700\n",
        }
        assert free_of_machine(self.write(tmp_path, files)) == 4700
        files[f"{group}/memory.current"] = "9999"
        assert free_of_machine(self.write(tmp_path, files)) == 0

    def test_is_what_groups_of_version_1_have_left(self, tmp_path: Path) -> None:
        group = "sys/fs/cgroup/memory"
        files = {
            "proc/meminfo": "MemAvailable:  100 kB\n",
            "proc/self/cgroup": "5:cpu:/\n4:memory:/gone\n0::/\n",
            f"{group}/memory.limit_in_bytes": "6000\n",
            f"{group}/memory.usage_in_bytes": "5000\n",
            f"{group}/memory.stat": "total_inactive_file 1\n",
        }
        assert free_of_machine(self.write(tmp_path, files)) == 1001

    def test_of_this_machine_is_no_more_than_it_has(self) -> None:
        assert 0 < free_of_machine() <= EVERYTHING

    def test_is_all_of_it_where_nothing_says(self, tmp_path: Path) -> None:
        assert free_of_machine(tmp_path) == EVERYTHING
