async (query) => {
    const link = location.origin + location.pathname + query;
    try { await navigator.clipboard.writeText(link); } catch { /* the box below holds it */ }
    return link;
}
