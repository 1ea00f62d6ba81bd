/** Where the browser is. Links are plain anchors; the ones that stay inside the app are followed without a reload. */
export type Route =
  | { page: 'directory' }
  | { page: 'watch'; channel: string }
  | { page: 'embed'; channel: string }
  /** What follows in the path is the room's own. */
  | { page: 'studio' | 'admin'; rest: string[] }
  | { page: 'missing' };

function parse(pathname: string): Route {
  if (pathname === '/') return { page: 'directory' };
  const match = /^(?:\/t\/[^/]+)?\/(watch|embed)\/([^/]+)\/?$/.exec(pathname);
  if (!match?.[2]) return { page: 'missing' };
  try {
    return { page: match[1] as 'watch' | 'embed', channel: decodeURIComponent(match[2]) };
  } catch {
    return { page: 'missing' };
  }
}

function locate(pathname: string): Route {
  const [page, ...rest] = pathname.split('/').filter(Boolean);
  if (page !== 'studio' && page !== 'admin') return parse(pathname);
  try {
    return { page, rest: rest.map(decodeURIComponent) };
  } catch {
    return { page: 'missing' };
  }
}

class Router {
  route = $state.raw<Route>(locate(location.pathname));

  start(): () => void {
    const follow = (): void => void (this.route = locate(location.pathname));
    const click = (event: MouseEvent): void => {
      const link = (event.target as Element).closest?.('a');
      if (!link || link.target || link.origin !== location.origin || event.defaultPrevented || event.button !== 0) return;
      if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
      if (locate(link.pathname).page === 'missing') return;
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
