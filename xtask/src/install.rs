//! `cargo xtask install-c`: the library for C and C++ under a prefix, with what finds it there.
//!
//! Nothing of it names the prefix, so that it may be staged, moved and packed; nor anything of this machine.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Outcome, cargo, root, step, target};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What is to be installed where.
struct Request {
    prefix: PathBuf,
    /// Where the libraries are, within the prefix.
    libdir: PathBuf,
    profile: &'static str,
}

/// The names of the shared library: of the file, of what programs ask for when they start, and of what compilers look
/// for. The others lead to the file.
struct Names {
    file: String,
    so: String,
    link: String,
}

pub(crate) fn install_c(args: &[&str]) -> Outcome {
    if cfg!(windows) {
        return Err("install-c is for Unix; on Windows there is `cargo cinstall` (cargo-c)".to_owned());
    }
    let request = Request::read(args)?;
    build(&request)?;
    request.headers()?;
    request.shared()?;
    request.archive()?;
    request.finders()?;
    println!("libpeernet {VERSION} is installed in {}", request.prefix.display());
    Ok(())
}

impl Request {
    fn read(args: &[&str]) -> Result<Self, String> {
        let (mut prefix, mut libdir, mut profile) = (None, PathBuf::from("lib"), "release");
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or(format!("{arg} of what?"));
            match *arg {
                "--prefix" => prefix = Some(PathBuf::from(value()?)),
                "--libdir" => libdir = PathBuf::from(value()?),
                "--debug" => profile = "dev",
                "--release" => profile = "release",
                _ => return Err(format!("install-c does not know {arg}")),
            }
        }
        let prefix = prefix.ok_or("install-c needs --prefix DIR")?;
        if libdir.is_absolute() {
            return Err("--libdir is a folder within the prefix, such as lib64".to_owned());
        }
        let here = env::current_dir().map_err(|error| format!("the current folder: {error}"))?;
        Ok(Self { prefix: here.join(prefix), libdir, profile })
    }

    /// A folder within the prefix, which is made where it is missing.
    fn folder(&self, within: impl AsRef<Path>) -> Result<PathBuf, String> {
        let folder = self.prefix.join(within);
        fs::create_dir_all(&folder).map_err(problem(&folder))?;
        Ok(folder)
    }

    /// What was built.
    fn built(&self, name: &str) -> PathBuf {
        let folder = if self.profile == "dev" { "debug" } else { self.profile };
        root().join(target()).join(folder).join(name)
    }

    fn headers(&self) -> Outcome {
        let to = self.folder("include")?;
        for header in files("ffi-c/include")? {
            copy(&header, &to)?;
        }
        Ok(())
    }

    fn shared(&self) -> Outcome {
        let (names, libdir) = (Names::here(), self.folder(&self.libdir)?);
        replace(&libdir.join(&names.file), |to| fs::copy(self.built(&names.link), to).map(drop))?;
        for link in [&names.so, &names.link] {
            replace(&libdir.join(link), |to| symlink(&names.file, to))?;
        }
        Ok(())
    }

    fn archive(&self) -> Outcome {
        let (built, libdir) = (self.built("libpeernet.a"), self.folder(&self.libdir)?);
        if cfg!(target_os = "linux") {
            let hidden = hide(&built)?;
            return copy(&hidden, &libdir);
        }
        copy(&built, &libdir)
    }

    /// The files by which pkg-config and CMake find the rest.
    fn finders(&self) -> Outcome {
        let to = self.folder("share/cmake/peernet")?;
        for file in files("ffi-c/cmake")? {
            copy(&file, &to)?;
        }
        let to = self.folder(self.libdir.join("pkgconfig"))?.join("peernet.pc");
        let text = pkg_config(&self.libdir, &native_libs()?);
        replace(&to, |to| fs::write(to, text))
    }
}

impl Names {
    fn here() -> Self {
        // Another minor version is another ABI while the major one is 0.
        let parts = if VERSION.starts_with("0.") { 2 } else { 1 };
        let so: Vec<&str> = VERSION.split('.').take(parts).collect();
        let so = so.join(".");
        if cfg!(target_os = "macos") {
            return Self {
                file: format!("libpeernet.{VERSION}.dylib"),
                so: format!("libpeernet.{so}.dylib"),
                link: "libpeernet.dylib".to_owned(),
            };
        }
        Self {
            file: format!("libpeernet.so.{VERSION}"),
            so: format!("libpeernet.so.{so}"),
            link: "libpeernet.so".to_owned(),
        }
    }

    /// What has the linker write the name into the library.
    fn link_arg(&self) -> String {
        let so = &self.so;
        let name = if cfg!(target_os = "macos") {
            format!("-install_name,@rpath/{so}")
        } else {
            format!("-soname,{so}")
        };
        format!("-Clink-arg=-Wl,{name}")
    }
}

fn build(request: &Request) -> Outcome {
    let mut build = cargo(&["rustc", "--package", "libpeernet-c", "--lib", "--profile", request.profile]);
    build.args(["--", &Names::here().link_arg()]);
    step(build.env("CARGO_ENCODED_RUSTFLAGS", flags()?.join("\x1f")))
}

/// The flags that were asked for, and those that keep this machine's folders out of the library: they are in the places
/// that panics name.
fn flags() -> Result<Vec<String>, String> {
    let mut flags: Vec<String> = match (env::var("CARGO_ENCODED_RUSTFLAGS"), env::var("RUSTFLAGS")) {
        (Ok(encoded), _) => encoded.split('\x1f').map(str::to_owned).collect(),
        (_, Ok(plain)) => plain.split_whitespace().map(str::to_owned).collect(),
        _ => Vec::new(),
    };
    flags.retain(|flag| !flag.is_empty());
    let home = env::home_dir();
    let registry =
        env::var_os("CARGO_HOME").map(PathBuf::from).or(home.as_ref().map(|home| home.join(".cargo")));
    let sysroot = PathBuf::from(said(Command::new("rustc").args(["--print", "sysroot"]))?.trim());
    // Of several that fit, the compiler takes the last one.
    let folders = [
        (home, "/home"),
        (registry, "/cargo"),
        (Some(sysroot), "/rust"),
        (Some(root().join(target())), "/target"),
        (Some(root()), "/peernet"),
    ];
    for (folder, name) in folders {
        // A home that is the root of everything is no name of this machine.
        let Some(folder) = folder.filter(|folder| folder.parent().is_some()) else { continue };
        flags.push(format!("--remap-path-prefix={}={name}", folder.display()));
    }
    Ok(flags)
}

/// Makes a library of the static one in which nothing has a name but what is for programs: whatever else is in it, such
/// as C sources of dependencies or another library that was written in Rust, may then be in the program twice.
fn hide(archive: &Path) -> Result<PathBuf, String> {
    let folder = archive.with_file_name("install-c");
    fs::create_dir_all(&folder).map_err(problem(&folder))?;
    let (object, hidden) = (folder.join("peernet.o"), folder.join("libpeernet.a"));
    said(Command::new("ld").args(["-r", "--whole-archive"]).arg(archive).arg("-o").arg(&object))?;
    let keep = ["--wildcard", "--keep-global-symbol=peernet_*", "--strip-debug"];
    // The standard library's for the optimiser; put together, they are not well formed any more.
    let bitcode = ["--remove-section=.llvmbc", "--remove-section=.llvmcmd"];
    said(Command::new("objcopy").args(keep).args(bitcode).arg(&object))?;
    replace(&hidden, |_| Ok(()))?;
    said(Command::new("ar").arg("rcs").arg(&hidden).arg(&object))?;
    Ok(hidden)
}

/// What programs need besides the static library. C compilers bring the rest by themselves, also where all is static.
fn native_libs() -> Result<String, String> {
    let source = root().join(target()).join("native-libs.rs");
    fs::write(&source, "").map_err(problem(&source))?;
    let mut compile = Command::new("rustc");
    compile.args(["--crate-type", "staticlib", "--print", "native-static-libs"]).arg(&source);
    let output = compile.arg("-o").arg(source.with_extension("a")).output();
    let output = output.map_err(|error| format!("rustc could not be started: {error}"))?;
    let text = String::from_utf8_lossy(&output.stderr);
    let line = text.lines().find_map(|line| line.split_once("native-static-libs: "));
    let (_, libs) = line.ok_or(format!("rustc does not say which libraries it needs: {text}"))?;
    let libs: Vec<&str> = libs.split_whitespace().filter(|lib| !["-lgcc_s", "-lc"].contains(lib)).collect();
    Ok(libs.join(" "))
}

fn pkg_config(libdir: &Path, native_libs: &str) -> String {
    // From the file's own folder, pkgconfig, to the prefix.
    let up = vec![".."; libdir.components().count() + 1].join("/");
    let libdir = libdir.display();
    format!(
        "prefix=${{pcfiledir}}/{up}
libdir=${{prefix}}/{libdir}
includedir=${{prefix}}/include

Name: peernet
Description: Peer-to-peer meshes and tables that programs of many languages share
Version: {VERSION}
Libs: -L${{libdir}} -lpeernet
Libs.private: {native_libs}
Cflags: -I${{includedir}}
"
    )
}

/// The files of a folder of the sources.
fn files(folder: &str) -> Result<Vec<PathBuf>, String> {
    let folder = root().join(folder);
    let list = || fs::read_dir(&folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>();
    list().map_err(problem(&folder))
}

fn copy(file: &Path, folder: &Path) -> Outcome {
    let to = folder.join(file.file_name().unwrap_or_default());
    replace(&to, |to| fs::copy(file, to).map(drop))
}

/// Writes a file anew: programs that use the old one keep it.
fn replace(to: &Path, write: impl FnOnce(&Path) -> io::Result<()>) -> Outcome {
    match fs::remove_file(to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(problem(to)(error)),
        _ => write(to).map_err(problem(to)),
    }
}

#[cfg(unix)]
fn symlink(file: &str, link: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(file, link)
}

#[cfg(not(unix))]
fn symlink(_: &str, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// What a command says, which must succeed.
fn said(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("{command:?} could not be started: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("{command:?} failed: {}", String::from_utf8_lossy(&output.stderr)))
}

fn problem(place: &Path) -> impl FnOnce(io::Error) -> String {
    move |error| format!("{}: {error}", place.display())
}
