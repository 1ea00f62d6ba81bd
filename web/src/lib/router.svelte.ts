/** Where the browser is. Links are plain anchors; the ones that stay inside the app are followed without a reload. */
export type Route =
  | { page: 'directory' }
  | { page: 'watch' | 'embed'; channel: string }
  /** What follows in the path is the room's own. */
  | { page: 'studio' | 'admin'; rest: string[] }
  | { page: 'missing' };

function parse(pathname: string): Route {
  let parts: string[];
  try {
    // A page may lie behind a token: `/t/TOKEN/watch/NAME`.
    const plain = pathname.replace(/^\/t\/[^/]+(?=\/(watch|embed)\/)/, '');
    parts = plain.split('/').filter(Boolean).map(decodeURIComponent);
  } catch {
    return { page: 'missing' };
  }
  const [page, channel] = parts;
  if (page === undefined) return { page: 'directory' };
  if ((page === 'watch' || page === 'embed') && channel && !parts[2]) return { page, channel };
  return page === 'studio' || page === 'admin' ? { page, rest: parts.slice(1) } : { page: 'missing' };
}

class Router {
  route = $state.raw<Route>(parse(location.pathname));

  start(): () => void {
    const follow = (): void => void (this.route = parse(location.pathname));
    const click = (event: MouseEvent): void => {
      const link = (event.target as Element).closest?.('a');
      if (!link || link.target || link.origin !== location.origin || event.defaultPrevented || event.button !== 0) return;
      if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
      if (parse(link.pathname).page === 'missing') return;
      event.preventDefault();
      history.pushState(null, '', link.href);
      follow();
      scrollTo(0, 0);
    };
    addEventListener('popstate', follow);
    document.addEventListener('click', click);
    return () => {
      removeEventListener('popstate', follow);
      document.removeEventListener('click', click);
    };
  }
}
export const router = new Router();

export const watchPath = (channel: string): string => `/watch/${encodeURIComponent(channel)}`;
