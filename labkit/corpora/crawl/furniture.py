"""What stands on a page around the text: menus, banners, advertisements, comments, footers, in English and Chinese."""

FURNITURE = {
    "en": {
        "site": ("The Daily Ledger", "Northgate Review", "Harbour & Hill", "OpenShelf", "Field Notes",
            "Kestrel Online"),
        "nav": (
            "Home", "News", "World", "Business", "Opinion", "Science", "Health", "Sport", "Arts", "Travel", "Archive",
            "About us", "Contact", "Shop", "Podcasts", "Log in", "Sign up", "My account", "Help", "Subscribe",
        ),
        "cookie": (
            "We use cookies to improve your experience on our site and to show you personalised advertising. Read our "
            "privacy policy to find out how to change your settings at any time.",
            "This website uses cookies. By continuing to browse you agree to our use of cookies.",
            "We value your privacy. We and our 842 partners store and access information on a device, such as unique "
            "identifiers, to select personalised content. You may accept or manage your choices.",
        ),
        "button": ("Accept all", "Reject all", "Manage preferences", "Got it"),
        "share": ("Share on Facebook", "Tweet", "Email", "Pin it", "Share", "Print this page", "Copy link",
            "WhatsApp"),
        "ad": (
            "Advertisement", "Sponsored: Five kitchen tricks that professionals never tell you",
            "Save 40% on annual plans. Offer ends Sunday!", "Promoted content by our partners", "Shop the sale now",
            "Best rates on home insurance in your area. Compare quotes in two minutes.",
        ),
        "readmore": ("Read more: Ten photographs that changed the city", "Read also: What we know so far", "See also",
                     "Continue reading below", "Related: The long road to the coast",
                     "Click here to read the full story"),
        "related": (
            "You may also like", "Why the old harbour was never rebuilt", "Ten books for a long winter", "Most read",
            "The people who still repair radios", "A quiet revolution in bread", "What the census left out",
            "Our readers' letters of the week", "How to plant a hedge in autumn", "The bridge that everybody forgot",
        ),
        "comment": (
            "Great article, thanks for sharing!",
            "I totally disagree with this, the author clearly never went there.",
            "First!", "Can anyone recommend a good book on the subject? I have been looking for months.", "+1",
            "My grandfather told me the same story when I was a child, only the names were different.",
            "Does this also work with the newer version? I tried twice and gave up.", "Love it <3",
        ),
        "commenter": ("marble_fox", "J. Okafor", "anna1984", "Guest", "old_tom", "rivergirl", "K. Lindqvist",
            "user83112"),
        "byline": ("By Staff Writer", "Posted by admin on March 3", "Published 12 May, updated 3 hours ago",
            "5 min read",
                   "Filed under: Features", "Last modified: 14:05, 9 June"),
        "newsletter": ("Get our weekly newsletter", "Enter your email address to receive the best of the week.",
                       "Sign up for free updates. No spam, unsubscribe at any time."),
        "footer": (
            "© 2024 All rights reserved.", "Terms of use", "Privacy policy", "Cookie settings", "Careers", "Sitemap",
            "Accessibility", "Registered office: 14 Mill Lane, Northgate. Company no. 0384712", "RSS",
            "Advertise with us",
            "Contact: 221 Harbour Road, Suite 4, Port Ellen", "Powered by a content management system", "Back to top",
        ),
        "hidden": ("Skip to content", "Toggle navigation", "Loading…", "Please enable JavaScript to view this page."),
        "option": ("English", "Deutsch", "Français", "中文", "Español"),
        "edit": ("[edit]",),
        "toc": ("Contents",),
    },
    "zh": {
        "site": ("北门在线", "晨光新闻网", "书海阁", "江城论坛", "知行网", "大河资讯"),
        "nav": ("首页", "新闻", "国际", "财经", "体育", "娱乐", "科技", "文化", "历史", "读书", "论坛", "博客",
            "登录", "注册",
                "手机版", "收藏本站", "关于我们", "联系我们", "排行榜", "书架"),
        "cookie": ("本网站使用Cookie以改善您的浏览体验。继续浏览即表示您同意我们的隐私政策。",
                   "为了给您提供更好的服务，我们会使用必要的Cookie和统计工具，您可以随时更改设置。"),
        "button": ("同意", "拒绝", "更多设置", "我知道了"),
        "share": ("分享到微信", "分享到微博", "QQ空间", "收藏", "打印", "复制链接", "点赞", "举报"),
        "ad": ("广告", "限时优惠，全场五折起，点击查看详情", "赞助内容：厨房里的五个小窍门",
            "新用户注册即送三十元红包",
               "扫描二维码下载客户端", "本站推荐：春季新品上市"),
        "readmore": ("相关阅读：老城的十张照片", "点击阅读全文", "延伸阅读：港口的故事", "下一页", "查看更多",
            "推荐阅读"),
        "related": ("相关文章", "热门推荐", "为什么老港口没有重建", "冬天适合读的十本书", "修收音机的人",
            "面包的小革命",
                    "读者来信选登", "秋天怎么种树篱", "被遗忘的桥", "猜你喜欢"),
        "comment": ("写得真好，支持楼主！", "沙发", "不同意作者的看法，事情没有这么简单。", "转发了，谢谢分享。",
            "顶",
                    "小时候听爷爷讲过类似的故事，只是名字不同。", "请问有没有相关的书推荐？找了很久。",
                    "已收藏，慢慢看。"),
        "commenter": ("清风徐来", "网友83112", "江边客", "匿名用户", "老王", "小鱼儿", "读书人", "路过的猫"),
        "byline": ("作者：本站编辑", "发布时间：2023年5月12日", "来源：本站原创", "阅读：3821次", "责任编辑：小林",
            "字号：大 中 小"),
        "newsletter": ("订阅我们的每周精选", "输入邮箱，第一时间获取更新。", "关注公众号，回复关键词领取资料。"),
        "footer": ("版权所有，未经许可不得转载。", "使用条款", "隐私政策", "网站地图", "招聘信息", "广告合作",
            "返回顶部",
                   "增值电信业务经营许可证", "地址：江城区码头路14号", "违法和不良信息举报", "友情链接", "帮助中心"),
        "hidden": ("跳到正文", "展开菜单", "正在加载……", "请开启JavaScript以浏览本页。"),
        "option": ("简体", "繁體", "English"),
        "edit": ("[编辑]",),
        "toc": ("目录",),
    },
}  # fmt: skip

SCRIPTS = (
    "window.dataLayer=window.dataLayer||[];function gtag(){dataLayer.push(arguments);}gtag('js',new Date());",
    "var _hmt=_hmt||[];(function(){var s=document.createElement('script');s.async=true;"
    "document.getElementsByTagName('head')[0].appendChild(s);})();",
    'document.write("<p>This text is written by a script and is no part of the article at all.</p>");',
    "if(a<b&&c>d){for(var i=0;i<10;i++){ads.push({slot:i,size:[300,250]});}}",
    "(function(w,d){w.__cfg={theme:'light',ab:{x:1,y:\"</div>\"}};})(window,document);",
)
STYLES = (
    "body{font-family:Georgia,serif;margin:0} .ad::before{content:'Advertisement'} "
    "@media (max-width:600px){nav{display:none}}",
    "#wrap{width:960px} a:hover{color:#c00} .sr-only{position:absolute;left:-9999px}",
)
