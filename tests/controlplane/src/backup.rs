//! Copies the data of etcd and restores it later: everything since then is gone, and etcd assigns
//! the versions since then again.

use std::path::Path;

use crate::{ControlPlane, Error};

const DATA: &str = "etcd";
const BACKUP: &str = "etcd-backup";

impl ControlPlane {
    /// Copies what etcd stores now. etcd is frozen meanwhile.
    pub async fn backup(&self) -> Result<(), Error> {
        let mut etcd = self.etcd.lock().await;
        let etcd = etcd.last_mut().ok_or(Error::NotRunning)?;
        etcd.signal("STOP")?;
        let copied = copy(&self.folder().join(DATA), &self.folder().join(BACKUP));
        etcd.signal("CONT")?;
        copied
    }

    /// Stops both servers, replaces the data with the backup, and starts the servers again. They
    /// are ready when this returns.
    pub async fn restore(&self) -> Result<(), Error> {
        self.stop_apiserver().await;
        {
            let mut etcd = self.etcd.lock().await;
            // This one is not dropped, because its supervisor would remove the folder.
            let replaced = etcd.last_mut().ok_or(Error::NotRunning)?;
            replaced.signal("KILL")?;
            replaced.ended().await;
            let data = self.folder().join(DATA);
            std::fs::remove_dir_all(&data).map_err(Error::file("cannot remove", &data))?;
            copy(&self.folder().join(BACKUP), &data)?;
            etcd.push(self.spawn_etcd()?);
        }
        self.start_apiserver().await
    }
}

fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(to).map_err(Error::file("cannot create", to))?;
    for entry in std::fs::read_dir(from).map_err(Error::file("cannot read", from))? {
        let (path, to) = match entry {
            Ok(entry) => (entry.path(), to.join(entry.file_name())),
            Err(error) => return Err(Error::file("cannot read", from)(error)),
        };
        if path.is_dir() {
            copy(&path, &to)?;
        } else {
            std::fs::copy(&path, &to).map_err(Error::file("cannot copy", &path))?;
        }
    }
    Ok(())
}
