"""The few lines of JavaScript that the page needs."""


def scroll_to(name: str) -> str:
    """Show the element of this id, which on a phone may lie outside the screen; hands its arguments on."""
    return """(...values) => {
        const result = document.getElementById("NAME"), top = result.getBoundingClientRect().top;
        const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
        if (top < 0 || top > innerHeight / 2) result.scrollIntoView({behavior: calm ? "auto" : "smooth"});
        return values;
    }""".replace("NAME", name)


#: A picture that is pasted anywhere on the page is uploaded; Gradio's drop zone takes only drops and clicks.
PASTE_TO_UPLOAD = """() => document.addEventListener("paste", event => {
    const input = document.querySelector("#upload input[type=file]"), files = event.clipboardData?.files;
    if (!input || !files?.length || input.closest("[role=tabpanel]")?.offsetParent === null) return;
    event.preventDefault();
    input.files = files;
    input.dispatchEvent(new Event("change", {bubbles: true}));
})"""
#: The address of this page with the query given, to the clipboard; the box shows it if that is not allowed.
COPY_LINK = """async (query) => {
    const link = location.origin + location.pathname + query;
    try { await navigator.clipboard.writeText(link); } catch { /* the box below holds it */ }
    return link;
}"""
#: Once a file is ready: download it.
CLICK_DOWNLOAD = """() => document.querySelector("#download-ready")?.click()"""
#: Seen at once; the examination itself says when it has stopped, which may be a batch of slices later.
CANCELLING = """() => {
    const words = document.querySelector("#series-said .progress p");
    if (words) words.textContent = "Cancelling …";
}"""
