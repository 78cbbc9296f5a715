//! Builds the programs with Go from the pinned module: once, however many test binaries need them
//! at the same time.

use std::collections::VecDeque;
use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::binaries::missing;
use crate::{Error, Program, Release};

const PROGRESS_EVERY: Duration = Duration::from_secs(15);

/// How much of Go's output an error shows.
const TAIL_LINES: usize = 25;

/// Builds those of `programs` that `folder` lacks. A program appears complete or not at all.
pub(crate) async fn into(folder: &Path, release: &Release, programs: &[Program]) -> Result<(), Error> {
    std::fs::create_dir_all(folder).map_err(Error::file("cannot create the cache folder", folder))?;
    // Held until the end of this function; the kernel frees it when the process dies.
    let _lock = lock(folder).await?;
    let wanted = missing(folder, programs);
    if wanted.is_empty() {
        return Ok(()); // Another process built them while this one waited for the lock.
    }
    clear_leftovers(folder)?;
    let building = tempfile::Builder::new()
        .prefix(BUILDING)
        .tempdir_in(folder)
        .map_err(Error::file("cannot create a folder to build in under", folder))?;

    let names: Vec<&str> = wanted.iter().map(|program| program.file()).collect();
    let names = names.join(", ");
    log(&format!("building {names} of {release} with Go: {}", release.product.build_time()));
    let started = Instant::now();
    for program in &wanted {
        // One after the other, so that each file gets the name of its program: Go names etcd
        // `server`.
        go_build(*program, &building.path().join(program.file()), release, started).await?;
    }
    for program in &wanted {
        let (from, to) = (building.path().join(program.file()), folder.join(program.file()));
        std::fs::rename(&from, &to).map_err(Error::file("cannot move the program to", &to))?;
    }
    log(&format!("built {names} in {} s: {}", started.elapsed().as_secs(), folder.display()));
    Ok(())
}

const BUILDING: &str = ".building-";

/// A killed build leaves its folder behind. No other build uses it while this one holds the lock.
fn clear_leftovers(folder: &Path) -> Result<(), Error> {
    let entries = std::fs::read_dir(folder).map_err(Error::file("cannot list", folder))?;
    for entry in entries.filter_map(Result::ok) {
        if entry.file_name().to_string_lossy().starts_with(BUILDING) {
            std::fs::remove_dir_all(entry.path()).map_err(Error::file("cannot remove", &entry.path()))?;
        }
    }
    Ok(())
}

async fn lock(folder: &Path) -> Result<File, Error> {
    let path = folder.join(".lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(Error::file("cannot open the lock", &path))?;
    if file.try_lock().is_ok() {
        return Ok(file);
    }
    log(&format!("another process is building into {}; waiting for it", folder.display()));
    tokio::task::spawn_blocking(move || file.lock().map(|()| file).map_err(Error::file("cannot lock", &path)))
        .await
        .unwrap_or_else(|ended| std::panic::resume_unwind(ended.into_panic()))
}

async fn go_build(program: Program, output: &Path, release: &Release, started: Instant) -> Result<(), Error> {
    let mut go = Command::new("go");
    go.args(["build", "-v", "-trimpath", "-mod=readonly", "-buildvcs=false", "-ldflags"])
        .arg(release.linker_flags())
        .args(release.product.build_tags())
        .arg("-o")
        .arg(output)
        .arg(program.package())
        .current_dir(&release.module)
        .env("CGO_ENABLED", "0")
        .env("GOWORK", "off")
        // The user's own build settings must not change this one.
        .env_remove("GOFLAGS")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let start_error = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::NotFound => Error::NoGo { release: release.to_string() },
        _ => Error::Start { program: "go".to_owned(), source },
    };
    let mut child = go.spawn().map_err(start_error)?;
    let mut tail = VecDeque::new();
    if let Some(stderr) = child.stderr.take() {
        read_progress(BufReader::new(stderr), program, started, &mut tail).await;
    }
    let status = child.wait().await.map_err(|source| Error::Start { program: "go".to_owned(), source })?;
    if status.success() {
        return Ok(());
    }
    Err(Error::Build { release: release.to_string(), tail: Vec::from(tail).join("\n") })
}

/// Reads Go's output to its end, keeps the last lines, and logs the progress now and then. With
/// `-v` Go names every package it compiles.
async fn read_progress<R>(output: BufReader<R>, program: Program, started: Instant, tail: &mut VecDeque<String>)
where
    R: tokio::io::AsyncRead + Unpin,
{
    let mut lines = output.lines();
    let mut packages = 0;
    let mut progress = tokio::time::interval(PROGRESS_EVERY);
    progress.tick().await; // The first tick completes at once.
    loop {
        tokio::select! {
            line = lines.next_line() => match line {
                Ok(Some(line)) => {
                    packages += usize::from(!line.starts_with("go: "));
                    tail.push_back(line);
                    if tail.len() > TAIL_LINES {
                        tail.pop_front();
                    }
                }
                Ok(None) | Err(_) => return,
            },
            _ = progress.tick() => {
                let last = tail.back().map_or("the rest comes from Go's cache", String::as_str);
                log(&format!("  {} s: {}, {packages} packages compiled ({last})", started.elapsed().as_secs(), program.file()));
            }
        }
    }
}

fn log(line: &str) {
    eprintln!("controlplane: {line}");
}
