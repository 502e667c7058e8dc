// What the page does in the browser beside Gradio. Gradio's events call it by name.
window.lgg = {
    // Show the element of this id, which on a phone may lie outside the screen; hands the event's values on.
    scrollTo(id, values) {
        const element = document.getElementById(id), top = element.getBoundingClientRect().top;
        const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
        if (top < 0 || top > innerHeight / 2) element.scrollIntoView({behavior: calm ? "auto" : "smooth"});
        return values;
    },

    // The address of this page with the query given, to the clipboard; a box shows it if that is not allowed.
    async copyLink(query) {
        const link = location.origin + location.pathname + query;
        try { await navigator.clipboard.writeText(link); } catch { /* the box holds it */ }
        return link;
    },

    // Once a file is there, as if its own button were pressed. Shortly after: the button has to get the file.
    saveFile(id) {
        setTimeout(() => document.querySelector(`a#${id}, #${id} a, button#${id}`)?.click(), 200);
    },

    // Seen at once; the examination itself says when it has stopped, which may be a batch of slices later.
    sayCancelling() {
        const words = document.querySelector("#series-said .progress p");
        if (words) words.textContent = "Cancelling …";
    },
};

// A picture that is pasted anywhere on the page is uploaded; Gradio's drop zone takes only drops and clicks.
document.addEventListener("paste", event => {
    const input = document.querySelector("#upload input[type=file]"), files = event.clipboardData?.files;
    if (!input || !files?.length || input.closest("[role=tabpanel]")?.offsetParent === null) return;
    event.preventDefault();
    input.files = files;
    input.dispatchEvent(new Event("change", {bubbles: true}));
});
