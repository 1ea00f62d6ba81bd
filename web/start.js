// Runs before any module: the chosen colours, and on a watch page the player's code and the playlist, all at once.
// A file of its own, not inline, because the server's content security policy allows no inline script.
(() => {
  try {
    const theme = localStorage.getItem('tidewire.theme');
    if (theme) document.documentElement.dataset.theme = theme;
  } catch {
    // Storage may be refused; the system's colours then.
  }
  const match = /^(\/t\/[^/]+)?\/(?:watch|embed)\/([^/]+)\/?$/.exec(location.pathname);
  if (!match) return;
  document.documentElement.classList.add('boot-watch');
  for (const href of ['watch-chunks']) {
    const link = document.createElement('link');
    link.rel = 'modulepreload';
    if (/controls|elements/.test(href)) link.fetchPriority = 'low';
    link.href = href;
    document.head.append(link);
  }
  if (!('MediaSource' in self || 'ManagedMediaSource' in self)) return;
  const url = `${match[1] ?? ''}/live/${match[2]}/master.m3u8`;
  const text = fetch(url).then((response) => (response.ok ? response.text() : Promise.reject(response)));
  text.catch(() => {});
  self.tidewireStart = { url: new URL(url, location.href).href, text };
})();
