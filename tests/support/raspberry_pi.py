"""Folders laid out as the kernel of a Raspberry Pi shows itself: sysfs, proc, device nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MEMINFO = """MemTotal:        3885400 kB
MemFree:         1205000 kB
MemAvailable:    2905000 kB
SwapTotal:        204796 kB
SwapFree:         204796 kB
"""


def lay_out(root: Path, files: Mapping[str, str]) -> None:
    """Write files, by their path below the root."""
    for place, text in files.items():
        path = root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def pi_4(root: Path) -> None:
    """A Pi 4 with a USB camera, a camera module on the ribbon cable, a Coral and a serial port."""
    cpu = "sys/devices/system/cpu"
    frequency = {
        "scaling_governor": "ondemand\n",
        "scaling_driver": "cpufreq-dt\n",
        "scaling_max_freq": "1500000\n",
        "cpuinfo_max_freq": "1500000\n",
    }
    usb = "sys/bus/usb/devices"
    lay_out(
        root,
        {
            "proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4\0",
            "proc/meminfo": MEMINFO,
            "proc/vmstat": "nr_free_pages 300000\noom_kill 0\n",
            "proc/swaps": "Filename\tType\tSize\tUsed\tPriority\n/var/swap file 204796 0 -2\n",
            "proc/cmdline": "console=serial0,115200 console=tty1 root=PARTUUID=1-02\n",
            "proc/1/comm": "systemd\n",
            "proc/320/comm": "systemd-timesyn\n",
            "proc/self/mounts": (
                "/dev/mmcblk0p2 / ext4 rw,noatime 0 0\ntmpfs /run tmpfs rw,nosuid 0 0\n"
            ),
            "sys/class/thermal/thermal_zone0/temp": "48312\n",
            "sys/class/thermal/thermal_zone0/trip_point_0_type": "critical\n",
            "sys/class/thermal/thermal_zone0/trip_point_0_temp": "110000\n",
            "sys/devices/platform/soc/soc:firmware/get_throttled": "0\n",
            **{
                f"{cpu}/cpu{core}/cpufreq/{name}": text
                for core in range(4)
                for name, text in frequency.items()
            },
            "sys/class/video4linux/video0/name": "unicam\n",
            "sys/class/video4linux/v4l-subdev0/name": "imx219 10-0010\n",
            "sys/class/video4linux/video1/name": "HD Pro Webcam C920\n",
            "sys/class/video4linux/video10/name": "bcm2835-codec-decode\n",
            "sys/class/video4linux/video13/name": "bcm2835-isp-capture0\n",
            "dev/video0": "",
            "dev/video1": "",
            "dev/video10": "",
            "dev/video13": "",
            "dev/ttyAMA0": "",
            "dev/ttyUSB0": "",
            "dev/bus/usb/002/003": "",
            f"{usb}/2-1/idVendor": "1a6e\n",
            f"{usb}/2-1/idProduct": "089a\n",
            f"{usb}/2-1/busnum": "2\n",
            f"{usb}/2-1/devnum": "3\n",
            f"{usb}/2-1/speed": "5000\n",
            f"{usb}/1-1/idVendor": "2109\n",
            f"{usb}/1-1/idProduct": "3431\n",
            "sys/devices/usb1/1-1.2/product": "FT232R USB UART\n",
            "sys/devices/usb1/1-1.2/1-1.2:1.0/ttyUSB0/uevent": "",
        },
    )
    by_id = root / "dev/serial/by-id"
    by_id.mkdir(parents=True)
    (by_id / "usb-FTDI_FT232R_USB_UART_A1-if00-port0").symlink_to("../../ttyUSB0")
    (root / "dev/serial0").symlink_to("ttyAMA0")
    tty = root / "sys/class/tty/ttyUSB0"
    tty.mkdir(parents=True)
    (tty / "device").symlink_to("../../../devices/usb1/1-1.2/1-1.2:1.0/ttyUSB0")
