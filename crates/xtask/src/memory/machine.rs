//! The virtual machine: how its file system is put together, and how it is run.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::command::run as run_command;

/// The line that ends the output.
const END: &str = "the attacks have ended: ";
/// With KVM, a machine boots in seconds.
const KVM_BOOT: Duration = Duration::from_secs(20);
/// For a machine that is emulated, on a host that is busy.
const LIMIT: Duration = Duration::from_mins(20);

/// Files for the machine, on top of the tree that it boots.
pub(super) struct Overlay {
    root: PathBuf,
}

impl Overlay {
    pub(super) fn new(root: PathBuf) -> anyhow::Result<Self> {
        if root.is_dir() {
            fs::remove_dir_all(&root)?;
        }
        let overlay = Self { root };
        overlay.write("init", include_str!("../../system/vm-init.sh"))?;
        overlay.make_executable("init")?;
        Ok(overlay)
    }

    pub(super) fn write(&self, path: &str, contents: impl AsRef<[u8]>) -> anyhow::Result<()> {
        let path = self.root.join(path);
        fs::create_dir_all(path.parent().context("a file is in a folder")?)?;
        fs::write(&path, contents).with_context(|| path.display().to_string())
    }

    pub(super) fn copy(&self, from: &Path, path: &str) -> anyhow::Result<()> {
        self.write(path, fs::read(from).with_context(|| from.display().to_string())?)?;
        self.make_executable(path)
    }

    /// Where a path of the machine is here.
    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    fn make_executable(&self, path: &str) -> anyhow::Result<()> {
        use std::os::unix::fs::PermissionsExt as _;
        Ok(fs::set_permissions(self.root.join(path), fs::Permissions::from_mode(0o755))?)
    }

    /// Has the machine run `command` once it is up, and power off.
    pub(super) fn run_at_boot(&self, command: &str) -> anyhow::Result<()> {
        let unit = format!(
            "[Unit]\nAfter=multi-user.target\nSuccessAction=poweroff-force\nFailureAction=poweroff-force\n\
             [Service]\nType=oneshot\nLimitNOFILE=500000\nStandardOutput=file:/dev/ttyS1\nStandardError=file:/dev/ttyS1\n\
             ExecStart=/bin/sh -c 'echo; {command}; echo \"{END}$?\"'\n"
        );
        self.write("etc/systemd/system/attacks.service", unit)?;
        let wants = self.root.join("etc/systemd/system/multi-user.target.wants");
        fs::create_dir_all(&wants)?;
        Ok(symlink("../attacks.service", wants.join("attacks.service"))?)
    }
}

/// One archive of `root` and the overlay, in the form in which a kernel takes its first file system.
pub(super) fn archive(root: &Path, overlay: &Overlay, archive: &Path) -> anyhow::Result<()> {
    // The kernel unpacks one archive after the other.
    let mut command = Command::new("sh");
    let script = r#"for tree in "$1" "$2"; do (cd "$tree" && find . -xdev -print0 | cpio -0 -o -H newc --quiet); done >"$3""#;
    command.args(["-euc", script, "sh"]).args([root, &overlay.root, archive]);
    run_command(command)
}

/// Boots the machine, shows what it prints, and waits for its end.
pub(super) fn run(kernel: &Path, archive: &Path, folder: &Path) -> anyhow::Result<()> {
    let mut machine = None;
    if File::options().write(true).open("/dev/kvm").is_ok() {
        machine = Qemu::start(kernel, archive, folder, true)?.once_up(KVM_BOOT)?;
        if machine.is_none() {
            println!("KVM does not boot a machine here: it is emulated");
        }
    }
    let machine = match machine {
        Some(machine) => machine,
        None => Qemu::start(kernel, archive, folder, false)?,
    };
    machine.watch_to_the_end()
}

struct Qemu {
    child: Child,
    output: PathBuf,
    shown: usize,
}

impl Qemu {
    fn start(kernel: &Path, archive: &Path, folder: &Path, kvm: bool) -> anyhow::Result<Self> {
        let (output, console) = (folder.join("output.log"), folder.join("console.log"));
        let serial = |path: &Path| format!("file:{}", path.display());
        let accelerator =
            if kvm { ["q35,accel=kvm", "host,-arch-capabilities"] } else { ["q35,accel=tcg", "max"] };
        // Not left over from an earlier run.
        fs::write(&output, "")?;
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "qemu-system-x86_64", "-M", accelerator[0], "-cpu", accelerator[1]])
            .args([
                "-m",
                "4096",
                "-smp",
                "2",
                "-nodefaults",
                "-no-user-config",
                "-display",
                "none",
                "-no-reboot",
            ])
            .args(["-nic", "none", "-serial", &serial(&console), "-serial", &serial(&output)])
            .args([
                "-append",
                "console=ttyS0 quiet panic=-1 systemd.show_status=0 systemd.mask=serial-getty@ttyS0.service",
            ])
            .arg("-kernel")
            .arg(kernel)
            .arg("-initrd")
            .arg(archive)
            .stdin(Stdio::null())
            .spawn()
            .context("cannot start qemu")?;
        Ok(Self { child, output, shown: 0 })
    }

    /// `None` if it is not up in time.
    fn once_up(mut self, limit: Duration) -> anyhow::Result<Option<Self>> {
        let began = Instant::now();
        while began.elapsed() < limit && self.child.try_wait()?.is_none() {
            if fs::metadata(&self.output)?.len() > 0 {
                return Ok(Some(self));
            }
            pause();
        }
        Ok(None)
    }

    fn watch_to_the_end(mut self) -> anyhow::Result<()> {
        let began = Instant::now();
        loop {
            let has_ended = self.child.try_wait()?.is_some();
            let output = fs::read(&self.output)?;
            let output = String::from_utf8_lossy(&output);
            let whole = output.rfind('\n').map_or(0, |end| end + 1);
            for line in output[self.shown..whole].lines().filter(|line| !line.is_empty()) {
                if let Some(status) = line.strip_prefix(END) {
                    anyhow::ensure!(status == "0", "the service did not bear the attacks");
                    return Ok(());
                }
                println!("{line}");
            }
            self.shown = whole;
            let folder = self.output.parent().unwrap_or(&self.output).display();
            anyhow::ensure!(!has_ended, "the machine ended too early: see {folder}");
            anyhow::ensure!(began.elapsed() < LIMIT, "not done within {LIMIT:?}: see {folder}");
            pause();
        }
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn pause() {
    #[expect(clippy::disallowed_methods, reason = "a file that grows gives no event")]
    std::thread::sleep(Duration::from_millis(100));
}
