//! Where sessions come from: URLs as given, or made by asking an issuer, one token for each.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, bail};
use tokio::task::JoinSet;

use crate::cli::issuer::Issuer;
use crate::ids::Protocol;

use super::url::ViewerUrl;

/// Requests to the issuer at once.
const ASKING: usize = 16;

/// Where viewers go.
#[derive(Clone)]
pub(super) enum Source {
    /// These, in turn.
    Urls(Arc<[ViewerUrl]>, Arc<AtomicUsize>),
    /// A fresh token for each, of these servers in turn.
    Issuer { issuer: Arc<Issuer>, servers: Arc<[String]>, protocol: Protocol, next: Arc<AtomicUsize> },
}

impl Source {
    pub(super) fn urls(urls: Vec<ViewerUrl>) -> Self {
        Self::Urls(urls.into(), Arc::default())
    }

    /// Resolves the servers' names once.
    pub(super) async fn issuer(issuer: Issuer, names: &[String], protocol: Protocol) -> anyhow::Result<Self> {
        let mut servers = Vec::with_capacity(names.len());
        for name in names {
            servers.push(issuer.server_id(name).await?);
        }
        if servers.is_empty() {
            bail!("--api needs --server NAME, once or more");
        }
        Ok(Self::Issuer { issuer: Arc::new(issuer), servers: servers.into(), protocol, next: Arc::default() })
    }

    /// The URL of one more session.
    async fn next(&self) -> anyhow::Result<ViewerUrl> {
        let turn = |next: &AtomicUsize, of: usize| next.fetch_add(1, Ordering::Relaxed) % of.max(1);
        match self {
            Self::Urls(urls, next) => urls.get(turn(next, urls.len())).cloned().context("no URL was given"),
            Self::Issuer { issuer, servers, protocol, next } => {
                let server = &servers[turn(next, servers.len())];
                let answer = issuer.console(server, *protocol).await?;
                ViewerUrl::from_console(answer.url())
            }
        }
    }

    /// So many of them.
    pub(super) async fn take(&self, count: usize) -> anyhow::Result<Vec<ViewerUrl>> {
        let source = self.clone();
        parallel(vec![(); count], ASKING, move |()| {
            let source = source.clone();
            async move { source.next().await }
        })
        .await
    }

    /// What is shown of it.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Urls(urls, _) => urls.first().map(ToString::to_string).unwrap_or_default(),
            Self::Issuer { issuer, servers, .. } => {
                format!("{} ({} servers)", issuer.describe(), servers.len())
            }
        }
    }
}

/// Does `work` on every item, `at_once` of them at a time; the first failure ends it.
pub(super) async fn parallel<I, T, F>(
    items: Vec<I>,
    at_once: usize,
    work: impl Fn(I) -> F + Clone + Send + 'static,
) -> anyhow::Result<Vec<T>>
where
    I: Send + 'static,
    T: Send + 'static,
    F: Future<Output = anyhow::Result<T>> + Send,
{
    let queue = Arc::new(Mutex::new(VecDeque::from(items)));
    let mut workers = JoinSet::new();
    for _ in 0..at_once {
        let (queue, work) = (Arc::clone(&queue), work.clone());
        workers.spawn(async move {
            let mut done = Vec::new();
            loop {
                let item = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                let Some(item) = item else { return anyhow::Ok(done) };
                done.push(work(item).await?);
            }
        });
    }
    let mut all = Vec::new();
    while let Some(done) = workers.join_next().await {
        all.extend(done??);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_item_is_worked_on_once_and_the_first_failure_ends_it() {
        let mut done = parallel((0..100).collect(), 7, |n: u32| async move { Ok(n) }).await.unwrap();
        done.sort_unstable();
        assert_eq!(done, (0..100).collect::<Vec<_>>());
        let failed = parallel(vec![1], 1, |_: u32| async { anyhow::bail!("no") as anyhow::Result<()> }).await;
        assert!(failed.is_err());
    }

    #[tokio::test]
    async fn urls_are_taken_in_turn() {
        let source = Source::urls(vec!["ws://a".parse().unwrap(), "ws://b".parse().unwrap()]);
        let taken = source.take(3).await.unwrap();
        assert_eq!(taken.iter().filter(|url| url.host == "a").count(), 2);
    }
}
