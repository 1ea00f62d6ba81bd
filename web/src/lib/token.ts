/**
 * `/t/TOKEN` when the page was opened with a signed link, else nothing. Whatever such a page asks of the server about its
 * channel stands behind it too. Asked anew each time: a link to the directory leads out from behind the token.
 */
export const tokenPrefix = (): string => /^\/t\/[^/]+/.exec(location.pathname)?.[0] ?? '';
